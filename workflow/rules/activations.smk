"""Activation buffers: every selected site in one pass over the data."""


rule activations:
    input:
        model="<results>/{model}/{checkpoint}/model.json",
        data="<results>/{model}/datasets/{dataset}.json",
        payloads=[
            payload("<results>/{model}/{checkpoint}/model.json", ""),
            payload("<results>/{model}/datasets/{dataset}.json", ".data"),
        ],
    output:
        manifest="<results>/{model}/{checkpoint}/{dataset}/activations.json",
        payload=directory("<results>/{model}/{checkpoint}/{dataset}/activations.zarr"),
    params:
        flags=flags("activations"),
        code=code("activations"),
    log:
        "<results>/logs/{model}/{checkpoint}/{dataset}/activations.log",
    benchmark:
        "<results>/benchmarks/{model}/{checkpoint}/{dataset}/activations.tsv"
    shell:
        "compgraph activations {input.model} {input.data} --output {output.manifest} {params.flags} "
        "--code {params.code} --device {DEVICE} --threads {threads} --log-file {log} --quiet"
