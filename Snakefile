"""The study of a config file: one rule a stage, each one `compgraph <verb> …` line. `snakemake -n` shows the jobs.

Config files are not merged: `--configfile my.yaml` replaces config.yaml, whose entries would otherwise run as well.
"""

from pathlib import Path
import os
import shlex
import sys

sys.path.insert(0, str(workflow.basedir))

from compgraph.cli.sharing import environment
from compgraph.config.opening import open_study

STUDY = open_study(workflow.configfiles, config, Path(workflow.basedir) / "config.yaml")
CONFIG, DEVICE = STUDY.source, STUDY.config.run.device
os.environ |= environment(STUDY.config.run.cache, STUDY.config.run.results)

# The rules' `compgraph` is the one of this Python, wherever Snakemake was started from.
shell.prefix(f"export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH; ")


pathvars:
    results=STUDY.config.run.results,


wildcard_constraints:
    model=r"[a-z0-9][a-z0-9._-]*",
    checkpoint=r"[a-z0-9][a-z0-9._-]*",
    dataset=r"[a-z0-9][a-z0-9._-]*",
    name=r"[a-z0-9][a-z0-9._-]*",
    graph=r"[a-z0-9][a-z0-9._-]*",
    runs=r"[a-z0-9][a-z0-9._-]*",
    stage="structural|functional|effective",
    place=r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*){1,2}",


# Everything is a target, so that a file that went missing is noticed even where nothing newer needs it; but what
# run.keep lets go is made again only for a reader.
rule all:
    input:
        STUDY.paths(),
        STUDY.lasting_payloads(),
        "<results>/report/index.html",
    default_target: True


include: "workflow/rules/common.smk"
include: "workflow/rules/models.smk"
include: "workflow/rules/datasets.smk"
include: "workflow/rules/activations.smk"
include: "workflow/rules/attributions.smk"
include: "workflow/rules/dictionaries.smk"
include: "workflow/rules/structural.smk"
include: "workflow/rules/functional.smk"
include: "workflow/rules/effective.smk"
include: "workflow/rules/rois.smk"
include: "workflow/rules/ablation.smk"
include: "workflow/rules/evaluation.smk"
include: "workflow/rules/nulls.smk"
include: "workflow/rules/communities.smk"
include: "workflow/rules/sbm.smk"
include: "workflow/rules/tests.smk"
include: "workflow/rules/statistics.smk"
include: "workflow/rules/comparison.smk"
include: "workflow/rules/tracking.smk"
include: "workflow/rules/structures.smk"
include: "workflow/rules/pages.smk"
include: "workflow/rules/figures.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/resources.smk"


onsuccess:
    print(f"Report: {STUDY.config.run.results}/report/index.html")
