"""The attention of one decode step in two kernels on a GPU, which read queries, cache and mask where they lie.

A step asks few queries of many keys: a block per head, as PyTorch's kernel has it, leaves most of the device idle.
Here a group's keys are taken in parts of `PART` rows, each by a program of its own; a second kernel joins the parts.
The parts are the same whatever the reach and the number of groups, and joined in the same order, those that a slot
sees nothing of as exact zeros: a row's values do not depend on its company.

Axes: G groups, S slots, R = G · S rows, H heads, d head width, D = H · d, P parts.
Source: "Flash-Decoding for long-context inference" (Dao et al., 2023).
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

PART = 64  # cache rows of one program
SLOTS = 16  # queries that a tensor core takes at once: the most slots
JOINED = 16  # parts that are joined at once


@triton.jit(do_not_specialize=["parts"])
def _part(
    projected, cache, mask, writes, values, tops, totals, capacity, reach, parts, mask_group, mask_head, mask_slot,
    scale, heads: tl.constexpr, d: tl.constexpr, slots: tl.constexpr, queries: tl.constexpr, part: tl.constexpr,
):  # fmt: skip
    """Softmax and sum over one part of one head's keys, not yet divided by its total; the step's own keys and values go
    into the cache on the way."""
    group, head, index = tl.program_id(0) // heads, tl.program_id(0) % heads, tl.program_id(1)
    width = heads * d
    s, t, c = tl.arange(0, queries), index * part + tl.arange(0, part), tl.arange(0, d)
    line = projected + group * slots * 3 * width + head * d + c
    own_cache = cache + group.to(tl.int64) * capacity * 2 * width + head * d + c
    inside, asked = t < reach, s < slots
    q = tl.load(line[None, :] + (s * 3 * width)[:, None], mask=asked[:, None], other=0.0)
    k = tl.load(own_cache[None, :] + (t * 2 * width)[:, None], mask=inside[:, None], other=0.0)
    v = tl.load(own_cache[None, :] + (t * 2 * width + width)[:, None], mask=inside[:, None], other=0.0)
    for i in tl.static_range(slots):
        row = (tl.load(writes + group * slots + i) - group.to(tl.int64) * capacity).to(tl.int32)
        new_k, new_v = tl.load(line + i * 3 * width + width), tl.load(line + i * 3 * width + 2 * width)
        new = (t == row)[:, None]
        k, v = tl.where(new, new_k[None, :], k), tl.where(new, new_v[None, :], v)
        here = (row + tl.zeros([d], tl.int32)) // part == index
        tl.store(own_cache + row * 2 * width, new_k, mask=here)
        tl.store(own_cache + row * 2 * width + width, new_v, mask=here)
    place = mask + group.to(tl.int64) * mask_group + head * mask_head + t[None, :] + (s * mask_slot)[:, None]
    seen = tl.load(place, mask=asked[:, None] & inside[None, :], other=float("-inf"))
    scores = tl.dot(q, tl.trans(k)) * scale + seen.to(tl.float32)
    top = tl.max(scores, 1)
    base = tl.where(top == float("-inf"), 0.0, top)
    p = tl.exp(scores - base[:, None])
    total = tl.sum(p, 1)
    weighted = tl.dot(p.to(v.dtype), v)
    out = (tl.program_id(0) * parts + index) * slots + s
    tl.store(values + out[:, None] * d + c[None, :], weighted, mask=asked[:, None])
    tl.store(tops + out, top, mask=asked)
    tl.store(totals + out, total, mask=asked)


@triton.jit(do_not_specialize=["parts"])
def _join(
    values,
    tops,
    totals,
    out,
    parts,
    heads: tl.constexpr,
    d: tl.constexpr,
    slots: tl.constexpr,
    joined: tl.constexpr,
):
    """One head of one row from its parts."""
    row, head = tl.program_id(0), tl.program_id(1)
    c, j = tl.arange(0, d), tl.arange(0, joined)
    first = ((row // slots) * heads + head) * parts
    top = float("-inf")
    for start in range(0, parts, joined):
        at = (first + start + j) * slots + row % slots
        top = tl.maximum(top, tl.max(tl.load(tops + at, mask=start + j < parts, other=float("-inf")), 0))
    base = tl.where(top == float("-inf"), 0.0, top)
    total = 0.0
    weighted = tl.zeros([d], tl.float32)
    for start in range(0, parts, joined):
        at, here = (first + start + j) * slots + row % slots, start + j < parts
        share = tl.exp(tl.load(tops + at, mask=here, other=float("-inf")) - base)
        total += tl.sum(share * tl.load(totals + at, mask=here, other=0.0), 0)
        part = tl.load(values + at[:, None] * d + c[None, :], mask=here[:, None], other=0.0)
        weighted += tl.sum(share[:, None] * part, 0)
    tl.store(out + (row * heads + head) * d + c, (weighted / total).to(out.dtype.element_ty))


def attend(projected: Tensor, cache: Tensor, mask: Tensor, writes: Tensor, heads: int) -> Tensor:
    """The step's attention, [R, D]. projected [R, 3 · D]: queries, keys, values; cache [G, capacity, 2 · D], into
    whose rows `writes` [R], counted over all groups, keys and values go; mask [G, 1 or H, S, reach], additive.

    At most `SLOTS` slots; d a power of two, 16 at least; every row of a group is written once, below its reach."""
    groups, over, slots, reach = mask.shape
    capacity, width = cache.shape[1], cache.shape[2] // 2
    d, parts = width // heads, triton.cdiv(reach, PART)
    values = torch.empty(groups, heads, parts, slots, d, dtype=torch.float32, device=projected.device)
    tops, totals = torch.empty(2, groups, heads, parts, slots, dtype=torch.float32, device=projected.device)
    mask_head = 0 if over == 1 else mask.stride(1)
    _part[groups * heads, parts](
        projected, cache, mask, writes, values, tops, totals, capacity, reach, parts,
        mask.stride(0), mask_head, mask.stride(2), d**-0.5,
        heads=heads, d=d, slots=slots, queries=SLOTS, part=PART,
    )  # fmt: skip
    out = projected.new_empty(groups * slots, width)
    _join[groups * slots, heads](
        values, tops, totals, out, parts, heads=heads, d=d, slots=slots, joined=JOINED
    )
    return out
