"""Outputs of circuits: the network run as an effective graph, cut down step by step."""


rule ablation:
    input:
        model="<results>/{model}/{checkpoint}/model.json",
        data="<results>/{model}/datasets/{dataset}.json",
        graph="<results>/{model}/{checkpoint}/{dataset}/effective/{graph}.json",
        baseline=baseline("ablation"),
        dictionaries=dictionaries("ablation"),
        payloads=[
            payload("<results>/{model}/{checkpoint}/model.json", ""),
            payload("<results>/{model}/datasets/{dataset}.json", ".data"),
            payload("<results>/{model}/{checkpoint}/{dataset}/effective/{graph}.json", ".graph"),
        ],
    output:
        manifest="<results>/{model}/{checkpoint}/{dataset}/ablation/{name}@effective.{graph}.json",
        payload=directory("<results>/{model}/{checkpoint}/{dataset}/ablation/{name}@effective.{graph}.zarr"),
    params:
        baseline=baseline_flag("ablation"),
        dictionaries=dictionaries_flag("ablation"),
        flags=flags("ablation"),
        code=code("ablation"),
        cache=f"{STUDY.config.run.results}/cache",
    log:
        "<results>/logs/{model}/{checkpoint}/{dataset}/ablation/{name}@effective.{graph}.log",
    benchmark:
        "<results>/benchmarks/{model}/{checkpoint}/{dataset}/ablation/{name}@effective.{graph}.tsv"
    shell:
        "compgraph ablation {input.model} {input.data} {input.graph} {params.baseline} {params.dictionaries} --cache {params.cache} --output {output.manifest} {params.flags} "
        "--code {params.code} --device {DEVICE} --threads {threads} --log-file {log} --quiet"
