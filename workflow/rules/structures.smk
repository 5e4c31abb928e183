"""Graphs whose structure is known, and what is found in them: of no model, and made once a study."""


rule structures:
    output:
        manifest="<results>/all/examples/structures/structures.json",
        payload=directory("<results>/all/examples/structures/structures.tables"),
    params:
        code=code("structures"),
    log:
        "<results>/logs/all/examples/structures/structures.log",
    benchmark:
        "<results>/benchmarks/all/examples/structures/structures.tsv"
    shell:
        "compgraph structures --output {output.manifest} "
        "--code {params.code} --threads {threads} --log-file {log} --quiet"
