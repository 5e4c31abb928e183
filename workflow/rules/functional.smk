"""Functional graphs: what varies together, from a buffer."""


rule functional:
    input:
        signals=buffers("functional"),
        dictionaries=dictionaries("functional"),
        rois=rois("functional"),
        payloads=buffer_payloads("functional"),
    output:
        manifest="<results>/{model}/{checkpoint}/{dataset}/functional/{name}.json",
        payload=directory("<results>/{model}/{checkpoint}/{dataset}/functional/{name}.graph"),
    params:
        rois=roi_flag("functional"),
        dictionaries=dictionaries_flag("functional"),
        flags=flags("functional"),
        code=code("functional"),
    log:
        "<results>/logs/{model}/{checkpoint}/{dataset}/functional/{name}.log",
    benchmark:
        "<results>/benchmarks/{model}/{checkpoint}/{dataset}/functional/{name}.tsv"
    shell:
        "compgraph functional {input.signals} {params.dictionaries} {params.rois} --output {output.manifest} {params.flags} "
        "--code {params.code} --device {DEVICE} --threads {threads} --log-file {log} --quiet"
