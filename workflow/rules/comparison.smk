"""Kinds of connectivity against each other."""


rule comparison:
    input:
        graphs=lambda wildcards: STUDY.compared_paths(**wildcards),
        payloads=lambda wildcards: ancient(STUDY.compared_payloads(**wildcards)),
    output:
        manifest="<results>/{model}/{checkpoint}/{dataset}/comparison/{name}.json",
        payload="<results>/{model}/{checkpoint}/{dataset}/comparison/{name}.parquet",
    params:
        flags=flags("comparison"),
        code=code("comparison"),
    log:
        "<results>/logs/{model}/{checkpoint}/{dataset}/comparison/{name}.log",
    benchmark:
        "<results>/benchmarks/{model}/{checkpoint}/{dataset}/comparison/{name}.tsv"
    shell:
        "compgraph comparison {input.graphs} --output {output.manifest} {params.flags} "
        "--code {params.code} --threads {threads} --log-file {log} --quiet"
