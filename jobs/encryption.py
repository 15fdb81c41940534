"""NVFlare's homomorphic encryption in the frame of our recipe; TenSEAL is imported when used."""

from typing import Any

from nvflare.app_opt.pt.file_model_persistor import PTFileModelPersistor
from nvflare.recipe.spec import Recipe

from medleak.custom.flare.best_model import BestModelLocator
from medleak.custom.flare.encryption import RestoreShapes, SimulationContexts

_FILTER = "model_serialize_filter"


def add_to_server(job: Any, initial: dict[str, Any]) -> str:
    """Persistor, sums and updates of encrypted models; return the persistor's id.

    Raises:
        ValueError: TenSEAL is not installed.
    """
    try:
        from nvflare.app_opt.he.intime_accumulate_model_aggregator import (
            HEInTimeAccumulateWeightedAggregator,
        )
        from nvflare.app_opt.he.model_serialize_filter import HEModelSerializeFilter
        from nvflare.app_opt.he.model_shareable_generator import HEModelShareableGenerator
    except ImportError as error:
        raise ValueError(
            f"cxr_he needs TenSEAL ({error}): install medleak with its extra, medleak[he]."
        ) from None
    job.to_server(SimulationContexts(), id="simulation_contexts")  # before all that needs keys
    job.to_server(HEModelSerializeFilter(), id=_FILTER)
    model = {"path": "medleak.custom.training.initial.initial_network", "args": initial}
    persistor = PTFileModelPersistor(model=model, filter_id=_FILTER)
    persistor_id = job.to_server(persistor, id="persistor")
    job.to_server(BestModelLocator(pt_persistor_id="persistor"), id="locator")
    job.to_server(HEModelShareableGenerator(), id="shareable_generator")
    # The sites weigh their updates before they encrypt them.
    job.to_server(HEInTimeAccumulateWeightedAggregator(weigh_by_local_iter=False), id="aggregator")
    return persistor_id


def add_to_sites(made: Recipe, sites: list[str], initial: dict[str, Any]) -> None:
    """Decrypt what comes, encrypt what goes; after all other filters of the site."""
    from nvflare.app_opt.he.model_decryptor import HEModelDecryptor
    from nvflare.app_opt.he.model_encryptor import HEModelEncryptor

    for site in sites:
        made._job.to(SimulationContexts(on_site=True), site, id="simulation_contexts")
    shapes = RestoreShapes(initial["model_path"], initial["model_args"])
    for task in ("train", "validate"):
        made.add_client_input_filter(HEModelDecryptor(), tasks=[task])
        made.add_client_input_filter(shapes, tasks=[task])
    made.add_client_output_filter(HEModelEncryptor(weigh_by_local_iter=True), tasks=["train"])
