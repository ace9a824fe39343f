"""When parameters were frozen, over a run, a checkpoint and a copy."""

import copy
import pickle

from torch import nn

from lightning_landscape.examination.frozen import FrozenSince


def net():
    return nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))


def test_the_first_check_at_which_a_parameter_is_frozen_is_kept_until_it_is_trainable_again():
    module, frozen = net(), FrozenSince()
    module[1].bias.requires_grad_(requires_grad=False)
    frozen.check(module, 0)
    module[0].requires_grad_(requires_grad=False)
    frozen.check(module, 10)
    frozen.check(module, 20)
    assert frozen.steps == {"0.weight": 10, "0.bias": 10}
    module[0].bias.requires_grad_()
    frozen.check(module, 30)
    assert frozen.steps == {"0.weight": 10}
    module[0].bias.requires_grad_(requires_grad=False)
    frozen.check(module, 40)
    assert frozen.steps == {"0.weight": 10, "0.bias": 40}


def test_what_was_frozen_at_the_start_is_known_after_it_was_unfrozen_and_in_a_resumed_run():
    module, frozen, resumed = net(), FrozenSince(), FrozenSince()
    module[0].requires_grad_(requires_grad=False)
    frozen.check(module, 0)
    module[0].requires_grad_()
    frozen.check(module, 10)
    resumed.load_state_dict(pickle.loads(pickle.dumps(frozen.state_dict())))
    resumed.check(module, 20)
    for known in (frozen, resumed):
        assert [known.was_frozen(name) for name in ("0.weight", "1.weight", "new.weight")] == [True, False, False]


def test_a_resumed_run_knows_what_was_trainable_at_the_start():
    module, frozen = net(), FrozenSince()
    frozen.check(module, 0)
    module[0].requires_grad_(requires_grad=False)
    frozen.check(module, 10)
    resumed, restored = FrozenSince(), net()
    resumed.load_state_dict(pickle.loads(pickle.dumps(frozen.state_dict())))
    restored[0].requires_grad_(requires_grad=False)
    restored[1].bias.requires_grad_(requires_grad=False)
    resumed.check(restored, 20)
    assert resumed.steps == {"0.weight": 10, "0.bias": 10, "1.bias": 20}


def test_parameters_of_the_start_are_remembered_without_keeping_them_alive():
    module, frozen = net(), FrozenSince()
    frozen.check(module, 0)
    weight, stranger = module[0].weight, nn.Linear(2, 2).weight
    assert frozen.was_parameter(weight)
    assert not frozen.was_parameter(stranger)
    module[0] = nn.Linear(2, 2)
    assert frozen.was_parameter(weight)
    assert not frozen.was_parameter(module[0].weight)
    assert not copy.deepcopy(frozen).was_parameter(weight)
