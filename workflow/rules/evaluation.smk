"""Tables of faithfulness, from kept outputs: no network is run."""


rule evaluation:
    input:
        data="<results>/{model}/datasets/{dataset}.json",
        runs="<results>/{model}/{checkpoint}/{dataset}/ablation/{runs}@effective.{graph}.json",
        payloads=[
            payload("<results>/{model}/datasets/{dataset}.json", ".data"),
            payload("<results>/{model}/{checkpoint}/{dataset}/ablation/{runs}@effective.{graph}.json", ".zarr"),
        ],
    output:
        manifest="<results>/{model}/{checkpoint}/{dataset}/evaluation/{name}@{runs}@effective.{graph}.json",
        payload="<results>/{model}/{checkpoint}/{dataset}/evaluation/{name}@{runs}@effective.{graph}.parquet",
    params:
        flags=flags("evaluation"),
        code=code("evaluation"),
    log:
        "<results>/logs/{model}/{checkpoint}/{dataset}/evaluation/{name}@{runs}@effective.{graph}.log",
    benchmark:
        "<results>/benchmarks/{model}/{checkpoint}/{dataset}/evaluation/{name}@{runs}@effective.{graph}.tsv"
    shell:
        "compgraph evaluation {input.data} {input.runs} --output {output.manifest} {params.flags} "
        "--code {params.code} --threads {threads} --log-file {log} --quiet"
