"""Checks the peers: parameter counts, causality, carried state, and srupp.py against the package.

Needs no text and about a minute; fails with an AssertionError that names the peer.
"""

import torch

import sizes
from transformer_xl import shift

LENGTH, BATCH = 24, 2


def check_counts():
    for size_name, size in sizes.SIZES.items():
        print(f"{size_name}: Rondo's SRU++ has {size.parameters:,} parameters")
        for name in sizes.MODELS:
            with torch.device("meta"):
                model = sizes.build(name, size_name, sizes.ENWIK8_VOCABULARY, compile_mode=None)
            off = sizes.count(model) / size.parameters - 1
            print(f"  {name:16} {sizes.count(model):12,} {off:+7.1%}")
            allowed = 0.0 if name.endswith("srupp") else size.tolerance
            assert abs(off) <= allowed, f"{name} {size_name} is {off:.1%} off"


def check_causality_and_state(name):
    model = sizes.build(name, "small", sizes.ENWIK8_VOCABULARY, compile_mode=None).eval()
    ids = torch.randint(sizes.ENWIK8_VOCABULARY, (LENGTH, BATCH))
    changed = ids.clone()
    half = LENGTH // 2
    changed[half:] = (ids[half:] + 1) % sizes.ENWIK8_VOCABULARY
    whole, _ = model(ids)
    other, _ = model(changed)
    assert torch.allclose(whole[:half], other[:half], atol=1e-6), f"{name} sees later positions"
    assert not torch.allclose(whole[half:], other[half:]), f"{name} sees nothing"
    first, state = model(ids[:half])
    if state is not None:
        second, _ = model(ids[half:], state)
        assert torch.allclose(torch.cat([first, second]), whole, atol=1e-5), f"{name} loses state"


def copy_reference(reference, peer):
    peer.embedding.weight.data = reference.embedding.weight.data
    peer.output.weight.data = reference.output.weight.data
    for layer, cell in zip(peer.layers, reference.rnn.rnn_lst):
        transform = cell.transform_module
        transform.alpha.data.fill_(0.7)  # from 0, where attention would not be seen
        # The package keeps the three parts of U together unit by unit, srupp.py one after another.
        grouped = transform.linear3.weight.data.unflatten(0, (-1, 3))
        for mine, theirs in [
            (layer.linear1, transform.linear1.weight.data),
            (layer.linear2, transform.linear2.weight.data),
            (layer.linear3, grouped.transpose(0, 1).flatten(0, 1)),
            (layer.alpha, transform.alpha.data),
            (layer.norm_weight, transform.layer_norm.weight.data),
            (layer.norm_bias, transform.layer_norm.bias.data),
            (layer.weight_c, cell.weight_c.data.view(2, -1)),
            (layer.bias, cell.bias.data.view(2, -1)),
        ]:
            mine.data = theirs


def check_against_package():
    reference = sizes.build("reference_srupp", "small", sizes.ENWIK8_VOCABULARY).eval()
    peer = sizes.build("srupp", "small", sizes.ENWIK8_VOCABULARY, compile_mode=None).eval()
    copy_reference(reference, peer)
    states = [None, None]  # the first segment has no memory, the second has
    for ids in torch.randint(sizes.ENWIK8_VOCABULARY, (2, LENGTH, BATCH)):
        expected, states[0] = reference(ids, states[0])
        found, states[1] = peer(ids, states[1])
        assert torch.allclose(found, expected, atol=1e-5), "srupp differs from the package"


def check_shift():
    scores = torch.arange(21.0).view(1, 1, 3, 7)  # K = 7 distances 6 ... 0, memory 4
    shifted = shift(scores)
    for i in range(3):
        for j in range(4 + i + 1):
            distance = 4 + i - j
            assert shifted[0, 0, i, j] == scores[0, 0, i, 6 - distance], "shift misplaces distances"


def main():
    torch.manual_seed(1234)
    check_counts()
    check_shift()
    for name in sizes.MODELS:
        check_causality_and_state(name)
    check_against_package()
    print("all checks passed")


if __name__ == "__main__":
    with torch.no_grad():
        main()
