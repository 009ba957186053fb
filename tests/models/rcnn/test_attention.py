"""Decomposed attention against the N x N matrix that it never builds."""

import pytest
import torch

from nucleist.models.attention import AttendedLevels, DecomposedAttention


@pytest.fixture
def block():
    torch.manual_seed(0)
    block = DecomposedAttention(12, basis=7, values=5)
    for layer in (block.basis, block.coefficients):
        layer.weight.data *= 4  # softmaxes far from uniform
    return block


@pytest.fixture
def x():
    return torch.randn(2, 12, 6, 9, generator=torch.Generator().manual_seed(1))


def matrix(block, x):
    """A = K^T B by the definition: `A[b, i, j]` is what location i gives j."""
    flat = x.flatten(2)  # (B, C, N)

    def linear(layer):
        weight = layer.weight[:, :, 0, 0]
        return torch.einsum("oc,bcn->bon", weight, flat) + layer.bias[None, :, None]

    basis = linear(block.basis).exp()
    basis = basis / basis.sum(2, keepdim=True)  # each basis map by itself, over locations
    coefficients = linear(block.coefficients).exp()
    coefficients = coefficients / coefficients.sum(1, keepdim=True)  # each location, over maps
    return torch.einsum("bki,bkj->bij", coefficients, basis), linear(block.values)


@torch.no_grad()
def test_rows_of_the_attention_matrix_sum_to_1(block, x):
    basis, coefficients = block.maps(x.flatten(2).transpose(1, 2))
    assert basis.shape == (2, 7, 54) and coefficients.shape == (2, 54, 7)
    attention = coefficients @ basis
    torch.testing.assert_close(attention.sum(2), torch.ones(2, 54))
    assert torch.linalg.matrix_rank(attention[0]) <= 7


@torch.no_grad()
def test_output_equals_the_explicit_form(block, x):
    attention, values = matrix(block, x)
    attended = torch.einsum("bij,bcj->bci", attention, values)  # V A^T
    weight = block.fuse.weight[:, :, 0, 0]
    fused = torch.einsum("oc,bcn->bon", weight, attended) + block.fuse.bias[None, :, None]
    wanted = x + fused.unflatten(2, x.shape[2:])
    torch.testing.assert_close(block(x), wanted)


def test_a_zero_fusion_changes_nothing(block, x):
    torch.nn.init.zeros_(block.fuse.weight)
    torch.nn.init.zeros_(block.fuse.bias)
    assert torch.equal(block(x), x)


@torch.no_grad()
def test_attention_of_marked_locations(block, x):
    where = torch.zeros(6, 9)
    where[1, 2], where[4, 4:7] = 1.0, 0.5
    attention, _ = matrix(block, x[:1])
    given = (where.flatten() @ attention[0]).unflatten(0, (6, 9))
    wanted = (given - given.min()) / (given.max() - given.min())
    torch.testing.assert_close(block.attention_of(x[:1], where), wanted)


def test_attention_of_nothing_marked_is_finite(block, x):
    assert not block.attention_of(x[:1], torch.zeros(6, 9)).any()


def test_every_part_gets_a_gradient(block, x):
    block(x).square().sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in block.parameters())


def test_it_counts_as_in_the_paper():
    # 1x1 convolutions with bias: 3 * (C * 64 + 64) + 64 * C + C
    count = sum(p.numel() for p in DecomposedAttention(256).parameters())
    assert count == 4 * 256 * 64 + 3 * 64 + 256 == 65_984


def test_half_precision_keeps_the_softmax_over_many_locations(block):
    # Over 250 x 250 locations a weight is about 1.6e-5, below the normal numbers of float16.
    x = torch.randn(1, 12, 250, 250, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        wanted = block(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            got = block(x)
            basis, coefficients = block.maps(x.flatten(2).transpose(1, 2))
    assert basis.dtype == coefficients.dtype == torch.float32
    torch.testing.assert_close(basis.sum(2), torch.ones(1, 7), rtol=1e-4, atol=0)
    torch.testing.assert_close(got.float(), wanted, rtol=0.05, atol=0.05)


def test_adding_attention_uses_up_no_random_numbers():
    torch.manual_seed(3)
    wanted = torch.rand(4)
    torch.manual_seed(3)
    levels = AttendedLevels([0, 1], channels=8)
    assert torch.equal(torch.rand(4), wanted)
    first, second = (levels.attention[i].basis.weight for i in "01")
    assert not torch.equal(first, second)  # and yet the levels begin with weights of their own


def test_only_the_chosen_levels_are_attended():
    levels = AttendedLevels([1], channels=8, extra_level=False)
    maps = [torch.randn(1, 8, 8, 8), torch.randn(1, 8, 4, 4)]
    results, names = levels(list(maps), [], ["0", "1"])
    assert names == ["0", "1"]
    assert torch.equal(results[0], maps[0]) and not torch.equal(results[1], maps[1])
    assert torch.equal(results[1], levels.attention["1"](maps[1]))


def test_the_extra_level_subsamples_the_attended_one():
    levels = AttendedLevels([1], channels=8)
    maps = [torch.randn(1, 8, 8, 8), torch.randn(1, 8, 4, 4)]
    results, names = levels(list(maps), [], ["0", "1"])
    assert names == ["0", "1", "pool"]
    assert torch.equal(results[2], results[1][:, :, ::2, ::2])
