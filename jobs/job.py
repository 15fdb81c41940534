"""The source of the job folders beside this file, and another way to run them.

    python jobs/job.py cxr_dp                             # simulate, one process a site
    python jobs/job.py cxr_dp --num_rounds 100 --scale 1  # TMI's numbers
    python jobs/job.py cxr_clean --defence "top_k:fraction=0.01+percentile_gaussian:sigma0=1"
    python jobs/job.py medpfl_fedsgd --data brain_mri --model lenet
    python jobs/job.py cxr_clean --model my_package.nets.make_net --model_args '{"width": 32}'
    python jobs/job.py cxr_dpsgd --canaries gradients:count=500   # then: medleak dp-audit RUN
    python jobs/job.py cxr_dp --env poc                   # NVFlare's POC federation on this machine
    python jobs/job.py cxr_dp --env prod --startup_kit DIR
    python jobs/job.py --env export                       # write all job folders anew

``nvflare simulator jobs/cxr_dp`` runs the committed export; a test fails when it is out of date.
"""

import argparse
import json
import os
import re
import shutil
import tempfile
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_args

from nvflare.recipe import PocEnv, ProdEnv, SimEnv

from catalogue import JOBS, MEDPFL, MODELS, OF_DP_SGD, Job
from federation import compresses, recipe, steps_of
from medleak.custom.sites import canaries
from medleak.custom.sites.split import parse_table
from medleak.filters import registry
from medleak.filters.defences.composition import Composition
from medleak.filters.defences.percentile_gaussian import Scope
from medleak.filters.defences.withholding import BatchNorm
from readme import readme

HERE = Path(__file__).resolve().parent
NO_FILE = ("auto", "random", "imagenet")  # weights that are named by a word
TRACKING = ("tensorboard", "mlflow", "wandb", "none")


def export(job: Job, folder: Path) -> Path:
    """Write the job folder ``folder/job.name``; return it."""
    os.chdir(HERE)  # the recipe looks for its scripts from here
    with tempfile.TemporaryDirectory() as scratch:
        recipe(job).export(scratch)
        _fold(Path(scratch) / job.name)
        _clear(folder / job.name)
        for file in sorted(Path(scratch).glob("**/*")):
            target = folder / file.relative_to(scratch)
            if file.is_dir():
                target.mkdir(parents=True, exist_ok=True)
            elif file.suffix == ".json":
                target.write_text(json.dumps(json.loads(file.read_text()), indent=2) + "\n")
            else:
                target.write_bytes(file.read_bytes())
    (folder / job.name / "README.md").write_text(readme(job))
    return folder / job.name


def _fold(job: Path) -> None:
    """One client app for all sites whose apps are equal byte by byte, instead of one a site.

    The sites stay in ``deploy_map`` by name: the simulator, POC and production take them from
    there, and ``@ALL`` would name none.
    """
    meta = json.loads((job / "meta.json").read_text())
    groups: dict[Any, dict[str, list[str]]] = {}
    for app, sites in meta["deploy_map"].items():
        files = sorted(file for file in (job / app).glob("**/*") if file.is_file())
        content = tuple((file.relative_to(job / app), file.read_bytes()) for file in files)
        groups.setdefault(content, {})[app] = sites
    clients = [apps for apps in groups.values() if "app_server" not in apps]
    deploy_map = {"app_server": meta["deploy_map"]["app_server"]}
    for number, apps in enumerate(clients, 1):
        name = "app_client" if len(clients) == 1 else f"app_client_{number}"
        first, *others = apps
        (job / first).rename(job / name)
        for other in others:
            shutil.rmtree(job / other)
        deploy_map[name] = [site for sites in apps.values() for site in sites]
    (job / "meta.json").write_text(json.dumps(meta | {"deploy_map": deploy_map}))


def _clear(job: Path) -> None:
    """Remove the apps of an earlier export to ``job``: the new one may have others."""
    meta = job / "meta.json"
    if meta.exists():
        for app in json.loads(meta.read_text())["deploy_map"]:
            if app in {folder.name for folder in job.iterdir()}:
                shutil.rmtree(job / app)


_OPTIONS = {
    **dict.fromkeys(("num_rounds", "local_epochs", "spatial_size", "seed", "every_n_rounds"), int),
    **dict.fromkeys(("lr", "scale", "disk_budget_mb", "fedprox_mu"), float),
    "clients_per_round": int,
    **dict.fromkeys(OF_DP_SGD, float),
    "weights": str,
    "server_optimizer": str,
}
_OF_DEFENCES = {
    **dict.fromkeys(("sigma0", "percentile", "fraction", "level"), float),
    "bits": int,
}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("name", nargs="?", choices=sorted(JOBS), help="default for export: all")
    made.add_argument("--env", choices=("sim", "poc", "prod", "export"), default="sim")
    made.add_argument("--folder", type=Path, help="where --env export writes; default: here")
    made.add_argument("--workspace", type=Path, help="of --env sim; default: workspace")
    made.add_argument("--threads", type=int, help="sites at a time in --env sim; default: all")
    made.add_argument("--startup_kit", help="admin startup kit of --env prod")
    made.add_argument("--installed", action="store_true", default=None, help="ship no code (BYOC)")
    made.add_argument("--tracking", choices=TRACKING, help="where losses and scores go")
    made.add_argument(
        "--canaries",
        help="made-up records that a site plants, to put epsilon to the test (medleak dp-audit): "
        "gradients:count=N or images:count=N",
    )
    made.add_argument("--canary_site", help="which site; default: the first of the table")
    data = made.add_argument_group("data and network")
    data.add_argument("--data", choices=sorted(MEDPFL), help="of medpfl_fedsgd")
    data.add_argument("--classes", nargs="+", help="class folders of your data, in label order")
    data.add_argument("--channels", type=int, choices=(1, 3), help="1: gray, 3: RGB")
    data.add_argument(
        "--table",
        type=parse_table,
        help="sites as name:batch_size:training:validation[:shares],...",
    )
    data.add_argument("--model", help=f"{', '.join(MODELS)}, or any dotted name of a factory")
    data.add_argument("--model_args", type=json.loads, help="its arguments, as JSON")
    training = made.add_argument_group("training")
    for field, kind in _OPTIONS.items():
        training.add_argument(f"--{field}", type=kind)
    training.add_argument("--share_metrics", action="store_true", default=None)
    defence = made.add_argument_group("defence of the sites")
    defence.add_argument("--defence", help='such as "top_k:fraction=0.01+sign", or "none"')
    defence.add_argument("--error_feedback", action=argparse.BooleanOptionalAction)
    for field, kind in _OF_DEFENCES.items():
        defence.add_argument(f"--{field}", type=kind)
    defence.add_argument("--scope", choices=get_args(Scope))
    defence.add_argument("--batch_norm", choices=get_args(BatchNorm))
    return made


def main(argv: list[str] | None = None) -> None:
    """Run or export a job from the command line."""
    line = parser()
    args = line.parse_args(argv)
    if args.name is None and args.env != "export":
        line.error(f"name a job: {', '.join(sorted(JOBS))}")
    for name in [args.name] if args.name else sorted(JOBS):
        try:
            _check_environment(args)
            job = configured(JOBS[name], args)
            if args.env == "export":
                print(export(job, _place(args, "folder")))
            else:
                _run(job, args)
        except ValueError as error:  # of the job's settings, or of a filter's
            line.error(" ".join(str(error).split()))


_OF_ENVIRONMENT = {
    "folder": "export",
    "workspace": "sim",
    "threads": "sim",
    "startup_kit": "prod",
}


def _check_environment(args: argparse.Namespace) -> None:
    """Refuse what the environment would ignore, or would fail on after it has started."""
    for option, env in _OF_ENVIRONMENT.items():
        if getattr(args, option) is not None and args.env != env:
            raise ValueError(f"--{option} is of --env {env}, and the environment is {args.env}.")
    if args.env == "prod" and not (args.startup_kit and Path(args.startup_kit).is_dir()):
        raise ValueError(
            "--env prod submits the job as an administrator: name the folder of the admin's "
            f"startup kit by --startup_kit, got {args.startup_kit!r}."
        )
    for option in ("workspace", "folder"):
        place = _place(args, option)
        there = next(p for p in (place, *place.parents) if p.exists())
        if not there.is_dir():
            raise ValueError(f"--{option}: {there} is a file, name a folder.")
    if args.env == "sim" and re.search(r"\s", str(_place(args, "workspace"))):
        raise ValueError(
            f"The workspace {str(_place(args, 'workspace'))!r} has a space in its path, at which "
            "NVFlare's simulator splits its own command: name another place by --workspace."
        )


def _place(args: argparse.Namespace, option: str) -> Path:
    """Where it is asked for, seen from where the user stands; else its default."""
    given: Path | None = getattr(args, option)
    return (given or {"workspace": Path("workspace"), "folder": HERE}[option]).resolve()


def configured(job: Job, args: argparse.Namespace) -> Job:
    """``job`` with the options that were given."""
    given = {k: v for k, v in vars(args).items() if v is not None and k in Job.__slots__}
    given.pop("name", None)
    given["data"] = _data(job, args)
    if given.get("weights", "auto") not in NO_FILE:
        given["weights"] = _weights(given["weights"], args.env)
    if given.get("installed"):
        given.setdefault("tracking", "none")  # events would go past the filters of such sites
    given["defence"] = _defence(job, args)
    for name in (*OF_DP_SGD, "share_metrics"):
        if name in given and job.max_grad_norm is None:
            raise ValueError(f"--{name} is of DP-SGD, which {job.name} has not; take cxr_dpsgd.")
    if "noise_multiplier" in given and "target_epsilon" not in given:
        given["target_epsilon"] = None  # fixed noise: the job's own target was for its own noise
    if "model" in given and "model_args" not in given:
        given["model_args"] = {}  # the job's own were for its own network
    return replace(job, **given)


def _weights(file: str, env: str) -> str:
    """A file of weights by its whole path: NVFlare's processes stand in folders of their own.

    In production it is the server that reads it, which may be another machine.
    """
    here = Path(file).expanduser().resolve()
    if here.is_file():
        return str(here)
    if env in ("prod", "export") and Path(file).is_absolute():
        return file
    raise ValueError(
        f"--weights {file!r} is no file here ({here}): name one, or one of {', '.join(NO_FILE)}."
    )


def _data(job: Job, args: argparse.Namespace) -> Any:
    if args.data is not None and job.name != "medpfl_fedsgd":
        raise ValueError(
            f"--data is of medpfl_fedsgd; {job.name} has one kind. For your own images set "
            "MEDLEAK_DATA, --classes and --channels."
        )
    data = job.data if args.data is None else MEDPFL[args.data]
    if args.classes is not None:
        data = replace(data, classes=tuple(args.classes))
    return data if args.channels is None else replace(data, channels=args.channels)


def _defence(job: Job, args: argparse.Namespace) -> registry.Defence | None:
    """The defence that is asked for, or the job's own with other parameters."""
    defence = job.defence
    if args.defence is not None:
        defence = None if args.defence == "none" else registry.defence(args.defence)
    steps = steps_of(defence)
    for name in (*_OF_DEFENCES, "scope", "batch_norm", "lr"):
        value = getattr(args, name)
        if value is None:
            continue
        takers = [k for k, step in enumerate(steps) if name in {f.name for f in fields(step)}]
        if not takers and name != "lr":  # which is training's first of all
            with_it = [j.name for j in JOBS.values() if _takes(j.defence, name)]
            raise ValueError(
                f"--{name} has no filter to go to in {job.name}; take "
                f"{' or '.join(with_it) or 'another --defence'}."
            )
        for k in takers:
            steps[k] = replace(steps[k], **{name: value})
    if args.error_feedback and not any(map(compresses, steps)):
        raise ValueError(
            f"--error_feedback has no filter to go to in {job.name}: it adds what compression left "
            "out. Take cxr_compressed, or a --defence that compresses."
        )
    if not steps:
        return None
    return steps[0] if len(steps) == 1 else Composition(steps)


def _takes(defence: registry.Defence | None, name: str) -> bool:
    return any(name in {f.name for f in fields(step)} for step in steps_of(defence))


def _run(job: Job, args: argparse.Namespace) -> None:
    workspace, kit = (
        _place(args, "workspace"),
        args.startup_kit and Path(args.startup_kit).resolve(),
    )
    os.chdir(HERE)
    sites = [site.name for site in job.table]
    if job.canaries is not None and args.env in ("sim", "poc"):
        # All of these sites are this user's own, who asked for it on this very line.
        os.environ.setdefault(canaries.VARIABLE, "allow")
    if args.env == "sim":
        # Sites that run at once share the cores; each with a thread a core took three times as
        # long (nine sites on two cores).
        share = (os.cpu_count() or 1) // (args.threads or len(sites))
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, share)))
        env = SimEnv(clients=sites, num_threads=args.threads, workspace_root=str(workspace))
    elif args.env == "poc":
        env = PocEnv(clients=sites)
    else:
        env = ProdEnv(startup_kit_location=str(kit))
    try:
        run = recipe(job).run(env)
    except RuntimeError as error:  # says where the logs are
        raise SystemExit(f"job.py: {error}") from None
    print(f"status: {run.get_status()}, result: {run.get_result(clean_up=False)}")


if __name__ == "__main__":
    main()
