"""Figures: a picture, its data and its caption from the results of a stage."""


rule figure:
    input:
        manifests=lambda wildcards: STUDY.figure_paths(wildcards.place, wildcards.figure),
        payloads=lambda wildcards: ancient(STUDY.figure_payloads(wildcards.place, wildcards.figure)),
    output:
        manifest="<results>/figures/{place}/{figure}.json",
        payload=directory("<results>/figures/{place}/{figure}.figure"),
    params:
        name=lambda wildcards: wildcards.figure.partition(".")[0],
        subject=lambda wildcards: ", ".join(wildcards.place.split("/")),
        code=lambda wildcards: code_of("figure", wildcards.figure.partition(".")[0]),
    wildcard_constraints:
        figure=r"[a-z][a-z0-9@._-]*",
    log:
        "<results>/logs/figures/{place}/{figure}.log",
    benchmark:
        "<results>/benchmarks/figures/{place}/{figure}.tsv"
    shell:
        "compgraph figure {params.name} {input.manifests} --output {output.manifest} --subject {params.subject:q} "
        "--code {params.code} --threads {threads} --log-file {log} --quiet"
