"""Functional graphs: what varies together, from a buffer."""


rule functional:
    input:
        signals=buffers("functional"),
        pool=besides("pool"),
        against=besides("against"),
        parts=parts,
        dictionaries=dictionaries("functional"),
        rois=rois("functional"),
        payloads=buffer_payloads("functional"),
    output:
        manifest="<results>/{model}/{checkpoint}/{dataset}/functional/{name}.json",
        payload=directory("<results>/{model}/{checkpoint}/{dataset}/functional/{name}.graph"),
    params:
        besides=besides_flags("pool", "against"),
        parts=parts_flags,
        rois=roi_flag("functional"),
        dictionaries=dictionaries_flag("functional"),
        flags=flags("functional"),
        code=code("functional"),
    log:
        "<results>/logs/{model}/{checkpoint}/{dataset}/functional/{name}.log",
    benchmark:
        "<results>/benchmarks/{model}/{checkpoint}/{dataset}/functional/{name}.tsv"
    shell:
        "compgraph functional {input.signals} {params.besides} {params.parts} {params.dictionaries} {params.rois} "
        "--output {output.manifest} {params.flags} "
        "--code {params.code} --device {DEVICE} --threads {threads} --log-file {log} --quiet"


# A pass over a part of the data; these files are no targets of their own, and their sums are merged above.
rule functional_part:
    input:
        signals=buffers("functional"),
        pool=besides("pool"),
        rois=rois("functional"),
        payloads=buffer_payloads("functional"),
    output:
        manifest="<results>/{model}/{checkpoint}/{dataset}/functional/{name}.parts/{number}-of-{parts}.json",
        payload=directory("<results>/{model}/{checkpoint}/{dataset}/functional/{name}.parts/{number}-of-{parts}.part"),
    wildcard_constraints:
        number=r"\d+",
        parts=r"\d+",
    params:
        besides=besides_flags("pool"),
        rois=roi_flag("functional"),
        flags=flags("functional-part"),
        code=code("functional-part"),
    log:
        "<results>/logs/{model}/{checkpoint}/{dataset}/functional/{name}.parts/{number}-of-{parts}.log",
    benchmark:
        "<results>/benchmarks/{model}/{checkpoint}/{dataset}/functional/{name}.parts/{number}-of-{parts}.tsv"
    shell:
        "compgraph functional-part {input.signals} {params.besides} {params.rois} --number {wildcards.number} "
        "--of {wildcards.parts} --output {output.manifest} {params.flags} "
        "--code {params.code} --device {DEVICE} --threads {threads} --log-file {log} --quiet"
