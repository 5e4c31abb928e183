"""Communities of every graph."""


rule communities:
    input:
        graph="<results>/{place}/{stage}/{graph}.json",
        nulls=nulls("communities"),
        payloads=payload("<results>/{place}/{stage}/{graph}.json", ".graph"),
    output:
        manifest="<results>/{place}/communities/{name}@{stage}.{graph}.json",
        payload="<results>/{place}/communities/{name}@{stage}.{graph}.parquet",
    params:
        nulls=nulls_flag("communities"),
        flags=flags("communities"),
        code=code("communities"),
    log:
        "<results>/logs/{place}/communities/{name}@{stage}.{graph}.log",
    benchmark:
        "<results>/benchmarks/{place}/communities/{name}@{stage}.{graph}.tsv"
    shell:
        "compgraph communities {input.graph} {params.nulls} --output {output.manifest} {params.flags} "
        "--code {params.code} --threads {threads} --log-file {log} --quiet"
