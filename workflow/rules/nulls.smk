"""Graphs of randomised networks, made as a graph was: all of one graph in one job."""


rule nulls:
    input:
        unpack(null_inputs),
        payloads=null_payloads,
    output:
        manifest="<results>/{place}/nulls/{name}@{stage}.{graph}.json",
        payload=directory("<results>/{place}/nulls/{name}@{stage}.{graph}.graphs"),
    params:
        others=null_options,
        flags=lambda wildcards: making(wildcards).flags,
        code=lambda wildcards: making(wildcards).code,
    log:
        "<results>/logs/{place}/nulls/{name}@{stage}.{graph}.log",
    benchmark:
        "<results>/benchmarks/{place}/nulls/{name}@{stage}.{graph}.tsv"
    shell:
        "compgraph nulls {input.graph} {input.model} {params.others} --output {output.manifest} {params.flags} "
        "--code {params.code} --device {DEVICE} --threads {threads} --log-file {log} --quiet"
