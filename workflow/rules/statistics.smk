"""Numbers that describe every graph."""


rule statistics:
    input:
        graph="<results>/{place}/{stage}/{graph}.json",
        nulls=nulls("statistics"),
        payloads=payload("<results>/{place}/{stage}/{graph}.json", ".graph"),
    output:
        manifest="<results>/{place}/statistics/{name}@{stage}.{graph}.json",
        payload="<results>/{place}/statistics/{name}@{stage}.{graph}.parquet",
    params:
        nulls=nulls_flag("statistics"),
        flags=flags("statistics"),
        code=code("statistics"),
    log:
        "<results>/logs/{place}/statistics/{name}@{stage}.{graph}.log",
    benchmark:
        "<results>/benchmarks/{place}/statistics/{name}@{stage}.{graph}.tsv"
    shell:
        "compgraph statistics {input.graph} {params.nulls} --output {output.manifest} {params.flags} "
        "--code {params.code} --threads {threads} --log-file {log} --quiet"
