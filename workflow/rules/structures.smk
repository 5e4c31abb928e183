"""Of no model, and made once a study: what is found, and what runs, where the truth is known."""


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


rule wiring:
    output:
        manifest="<results>/all/examples/wiring/wiring.json",
        payload=directory("<results>/all/examples/wiring/wiring.tables"),
    params:
        code=code("wiring"),
    log:
        "<results>/logs/all/examples/wiring/wiring.log",
    benchmark:
        "<results>/benchmarks/all/examples/wiring/wiring.tsv"
    shell:
        "compgraph wiring --output {output.manifest} "
        "--code {params.code} --threads {threads} --log-file {log} --quiet"


rule ground_truth:
    output:
        manifest="<results>/all/examples/ground-truth/ground-truth.json",
        payload=directory("<results>/all/examples/ground-truth/ground-truth.tables"),
    params:
        flags=flags("ground-truth"),
        code=code("ground-truth"),
    log:
        "<results>/logs/all/examples/ground-truth/ground-truth.log",
    benchmark:
        "<results>/benchmarks/all/examples/ground-truth/ground-truth.tsv"
    shell:
        "compgraph ground-truth {params.flags} --output {output.manifest} "
        "--code {params.code} --threads {threads} --log-file {log} --quiet"
