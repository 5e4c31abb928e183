"""Stochastic block models of every graph, and of several graphs as layers of one."""


rule sbm:
    input:
        graph="<results>/{place}/{stage}/{graph}.json",
        payloads=payload("<results>/{place}/{stage}/{graph}.json", ".graph"),
    output:
        manifest="<results>/{place}/sbm/{name}@{stage}.{graph}.json",
        payload=directory("<results>/{place}/sbm/{name}@{stage}.{graph}.blocks"),
    params:
        flags=flags("sbm"),
        code=code("sbm"),
    log:
        "<results>/logs/{place}/sbm/{name}@{stage}.{graph}.log",
    benchmark:
        "<results>/benchmarks/{place}/sbm/{name}@{stage}.{graph}.tsv"
    shell:
        "compgraph sbm {input.graph} --output {output.manifest} {params.flags} "
        "--code {params.code} --threads {threads} --log-file {log} --quiet"


rule sbm_layers:
    input:
        graphs=lambda wildcards: STUDY.layer_paths("sbm", **wildcards),
        payloads=lambda wildcards: ancient(STUDY.layer_payloads("sbm", **wildcards)),
    output:
        manifest="<results>/{place}/sbm/{name}.json",
        payload=directory("<results>/{place}/sbm/{name}.blocks"),
    params:
        flags=flags("sbm"),
        code=code("sbm"),
    log:
        "<results>/logs/{place}/sbm/{name}.log",
    benchmark:
        "<results>/benchmarks/{place}/sbm/{name}.tsv"
    shell:
        "compgraph sbm {input.graphs} --output {output.manifest} {params.flags} "
        "--code {params.code} --threads {threads} --log-file {log} --quiet"
