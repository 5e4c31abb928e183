"""The report: every figure, how it was made and what it cost, on one page."""


rule report:
    input:
        STUDY.paths(),
    output:
        "<results>/report/index.html",
    params:
        flags=STUDY.flags("report"),
        code=STUDY.code("report"),
    log:
        "<results>/logs/report.log",
    benchmark:
        "<results>/benchmarks/report.tsv"
    shell:
        "compgraph report --config {CONFIG:q} --output {output} {params.flags} "
        "--code {params.code} --threads {threads} --log-file {log} --quiet"
