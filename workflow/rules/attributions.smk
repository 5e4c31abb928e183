"""Attribution buffers: what each unit contributes to a metric, per example and position."""


rule attributions:
    input:
        model="<results>/{model}/{checkpoint}/model.json",
        data="<results>/{model}/datasets/{dataset}.json",
        baseline=baseline("attributions"),
        dictionaries=dictionaries("attributions"),
        payloads=[
            payload("<results>/{model}/{checkpoint}/model.json", ""),
            payload("<results>/{model}/datasets/{dataset}.json", ".data"),
        ],
    output:
        manifest="<results>/{model}/{checkpoint}/{dataset}/attributions/{name}.json",
        payload=directory("<results>/{model}/{checkpoint}/{dataset}/attributions/{name}.zarr"),
    params:
        baseline=baseline_flag("attributions"),
        dictionaries=dictionaries_flag("attributions"),
        flags=flags("attributions"),
        code=code("attributions"),
    log:
        "<results>/logs/{model}/{checkpoint}/{dataset}/attributions/{name}.log",
    benchmark:
        "<results>/benchmarks/{model}/{checkpoint}/{dataset}/attributions/{name}.tsv"
    shell:
        "compgraph attributions {input.model} {input.data} {params.baseline} {params.dictionaries} --output {output.manifest} {params.flags} "
        "--code {params.code} --device {DEVICE} --threads {threads} --log-file {log} --quiet"
