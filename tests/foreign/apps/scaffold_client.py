"""A client of SCAFFOLD, which sends a second set of tensors, its control variates, in the meta."""

import copy
from typing import Any

import nvflare.client as flare
import torch
from nvflare.app_common.app_constant import AlgorithmConstants
from nvflare.app_opt.pt.scaffold import PTScaffoldHelper
from photographs import PhotographNet
from torch.nn.functional import cross_entropy

LR = 0.05


def main() -> None:
    """Train until the server has no more tasks."""
    flare.init()
    seed = int(flare.get_site_name().rpartition("-")[2])
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(4, 3, 32, 32, generator=generator)
    classes = torch.randint(10, (4,), generator=generator)

    network = PhotographNet()
    optimizer = torch.optim.SGD(network.parameters(), lr=LR)
    helper = PTScaffoldHelper()
    helper.init(model=network)
    while flare.is_running():
        received: Any = flare.receive()
        network.load_state_dict(received.params)
        before = copy.deepcopy(network)
        controls = received.meta[AlgorithmConstants.SCAFFOLD_CTRL_GLOBAL]
        helper.load_global_controls({k: torch.as_tensor(v) for k, v in controls.items()})
        of_all, of_site = helper.get_params()
        for one in range(len(images)):
            optimizer.zero_grad()
            cross_entropy(network(images[one : one + 1]), classes[one : one + 1]).backward()
            optimizer.step()
            helper.model_update(
                model=network, curr_lr=LR, c_global_para=of_all, c_local_para=of_site
            )
        helper.terms_update(
            model=network,
            curr_lr=LR,
            c_global_para=of_all,
            c_local_para=of_site,
            model_global=before,
        )
        meta = {
            "NUM_STEPS_CURRENT_ROUND": len(images),
            AlgorithmConstants.SCAFFOLD_CTRL_DIFF: helper.get_delta_controls(),
        }
        state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        flare.send(flare.FLModel(params=state, meta=meta))


if __name__ == "__main__":
    main()
