"""Regions of interest: parts of functionally similar units."""


rule rois:
    input:
        buffer=buffer("rois"),
        dictionaries=dictionaries("rois"),
        payloads=lambda wildcards: payload(buffer("rois")(wildcards), ".zarr"),
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
        "compgraph rois {input.buffer} {params.dictionaries} --output {output.manifest} {params.flags} "
        "--code {params.code} --device {DEVICE} --threads {threads} --log-file {log} --quiet"
