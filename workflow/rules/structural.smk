"""Structural graphs: from the weights alone."""


rule structural:
    input:
        model="<results>/{model}/{checkpoint}/model.json",
        rois=rois("structural"),
        payloads=payload("<results>/{model}/{checkpoint}/model.json", ""),
    output:
        manifest="<results>/{model}/{checkpoint}/structural/{name}.json",
        payload=directory("<results>/{model}/{checkpoint}/structural/{name}.graph"),
    params:
        rois=roi_flag("structural"),
        flags=flags("structural"),
        code=code("structural"),
    log:
        "<results>/logs/{model}/{checkpoint}/structural/{name}.log",
    benchmark:
        "<results>/benchmarks/{model}/{checkpoint}/structural/{name}.tsv"
    shell:
        "compgraph structural {input.model} {params.rois} --output {output.manifest} {params.flags} "
        "--code {params.code} --device {DEVICE} --threads {threads} --log-file {log} --quiet"
