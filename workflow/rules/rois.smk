"""Regions of interest: parts of functionally similar units."""


rule rois:
    input:
        signals=buffers("rois"),
        dictionaries=dictionaries("rois"),
        payloads=buffer_payloads("rois"),
        table=lambda wildcards: STUDY.sources("rois", wildcards.name),
    output:
        manifest="<results>/{model}/{checkpoint}/{dataset}/rois/{name}.json",
        payload=directory("<results>/{model}/{checkpoint}/{dataset}/rois/{name}.partition"),
    params:
        dictionaries=dictionaries_flag("rois"),
        flags=flags("rois"),
        code=code("rois"),
    log:
        "<results>/logs/{model}/{checkpoint}/{dataset}/rois/{name}.log",
    benchmark:
        "<results>/benchmarks/{model}/{checkpoint}/{dataset}/rois/{name}.tsv"
    shell:
        "compgraph rois {input.signals} {params.dictionaries} --output {output.manifest} {params.flags} "
        "--code {params.code} --device {DEVICE} --threads {threads} --log-file {log} --quiet"
