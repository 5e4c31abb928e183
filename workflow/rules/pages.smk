"""Interactive pages: a graph, its curves, its blocks, and what its nodes do, in one HTML file."""


rule explore:
    input:
        graph="<results>/{model}/{checkpoint}/{dataset}/{stage}/{graph}.json",
        payload=lambda wildcards: payload("<results>/{model}/{checkpoint}/{dataset}/{stage}/{graph}.json", ".graph"),
        beside=lambda wildcards: STUDY.page_paths(*page_of(wildcards)),
        payloads=lambda wildcards: ancient(STUDY.page_payloads(*page_of(wildcards))),
    output:
        manifest="<results>/{model}/{checkpoint}/{dataset}/explore/page@{stage}.{graph}.json",
        payload="<results>/{model}/{checkpoint}/{dataset}/explore/page@{stage}.{graph}.html",
    params:
        code=code("explore"),
    log:
        "<results>/logs/{model}/{checkpoint}/{dataset}/explore/page@{stage}.{graph}.log",
    benchmark:
        "<results>/benchmarks/{model}/{checkpoint}/{dataset}/explore/page@{stage}.{graph}.tsv"
    shell:
        "compgraph explore {input.graph} {input.beside} --results {STUDY.config.run.results} "
        "--output {output.manifest} --code {params.code} --threads {threads} --log-file {log} --quiet"
