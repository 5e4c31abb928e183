"""Dictionaries: features of sites, trained on recorded activations or loaded. An interrupted training is continued."""


rule dictionaries:
    input:
        model="<results>/{model}/{checkpoint}/model.json",
        data="<results>/{model}/datasets/{dataset}.json",
        buffer="<results>/{model}/{checkpoint}/{dataset}/activations.json",
        files=lambda wildcards: STUDY.sources("dictionaries", wildcards.name),
        payloads=[
            payload("<results>/{model}/{checkpoint}/model.json", ""),
            payload("<results>/{model}/datasets/{dataset}.json", ".data"),
            payload("<results>/{model}/{checkpoint}/{dataset}/activations.json", ".zarr"),
        ],
    output:
        manifest="<results>/{model}/{checkpoint}/{dataset}/dictionaries/{name}.json",
        payload=directory("<results>/{model}/{checkpoint}/{dataset}/dictionaries/{name}.dictionaries"),
    params:
        flags=flags("dictionaries"),
        code=code("dictionaries"),
    log:
        "<results>/logs/{model}/{checkpoint}/{dataset}/dictionaries/{name}.log",
    benchmark:
        "<results>/benchmarks/{model}/{checkpoint}/{dataset}/dictionaries/{name}.tsv"
    shell:
        "compgraph dictionaries {input.model} {input.data} {input.buffer} --output {output.manifest} {params.flags} "
        "--code {params.code} --device {DEVICE} --threads {threads} --log-file {log} --quiet"
