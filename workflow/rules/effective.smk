"""Effective graphs: causal influence between parts."""


rule effective:
    input:
        model="<results>/{model}/{checkpoint}/model.json",
        data="<results>/{model}/datasets/{dataset}.json",
        rois=rois("effective"),
        baseline=baseline("effective"),
        dictionaries=dictionaries("effective"),
        payloads=[
            payload("<results>/{model}/{checkpoint}/model.json", ""),
            payload("<results>/{model}/datasets/{dataset}.json", ".data"),
        ],
    output:
        manifest="<results>/{model}/{checkpoint}/{dataset}/effective/{name}.json",
        payload=directory("<results>/{model}/{checkpoint}/{dataset}/effective/{name}.graph"),
    params:
        baseline=baseline_flag("effective"),
        dictionaries=dictionaries_flag("effective"),
        rois=roi_flag("effective"),
        flags=flags("effective"),
        code=code("effective"),
        cache=f"{STUDY.config.run.results}/cache",
    log:
        "<results>/logs/{model}/{checkpoint}/{dataset}/effective/{name}.log",
    benchmark:
        "<results>/benchmarks/{model}/{checkpoint}/{dataset}/effective/{name}.tsv"
    shell:
        "compgraph effective {input.model} {input.data} {params.rois} {params.baseline} {params.dictionaries} --cache {params.cache} --output {output.manifest} {params.flags} "
        "--code {params.code} --device {DEVICE} --threads {threads} --log-file {log} --quiet"
