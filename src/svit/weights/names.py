"""Our names of tensors and those of the official S-ViT, which kept CLIP's."""

from __future__ import annotations

from collections.abc import Mapping

_BLOCK_PARTS = {
    "norm1.": "ln_1.",
    "norm2.": "ln_2.",
    "attention.qkv.": "attn.in_proj_",
    "attention.query_t.weight": "attn.in_proj_weight_t",
    "attention.query_t.bias": "attn.in_proj_bias_t",
    "attention.out.": "attn.out_proj.",
    "attention.out_t.": "attn.out_proj_t.",
    "attention.alpha": "attn.alpha",
    "mlp.0.": "mlp.c_fc.",
    "mlp.2.": "mlp.c_proj.",
    "residual.": "residual_block.",
}
_PARTS = {
    "encoder.stem.conv.": "conv1.",
    "encoder.positions": "positional_embedding",
    "encoder.class_token": "class_embedding",
    "encoder.class_position": "class_position",  # its row of the positional embedding, which is ours alone
    "encoder.norm_in.": "ln_pre.",
    "detector.neck.": "neck.",
    "detector.head.": "bbox_head.multi_level_",
}
_LEVEL_PARTS = ("rescale", "conv1", "norm1", "conv2", "norm2")


def official_name(own: str, norms: Mapping[int, str]) -> str:
    """Our name of a tensor as the official checkpoints call it, without `detector.` and `backbone.`.

    Args:
        own: a key of `VideoModel.state_dict()`.
        norms: output block -> its official norm, `ln_post` or `ln_post_out{i}`.
    """
    if own.startswith("encoder.blocks."):
        _, _, block, part = own.split(".", 3)
        return f"transformer.resblocks.{block}.{replace_start(part, _BLOCK_PARTS)}"
    if own.startswith("encoder.norms."):
        _, _, block, leaf = own.split(".")
        return f"{norms[int(block)]}.{leaf}"
    if own.startswith("pyramid.levels."):
        _, _, level, part, leaf = own.split(".")
        # The official level 1 has no rescaling layer, so its layers count from 0 instead of 1.
        index = _LEVEL_PARTS.index(part) - (level == "1")
        return f"fpn_adaptor.fpn_adaptor_{level}.{index}.{leaf}"
    return replace_start(own, _PARTS)


def replace_start(name: str, table: Mapping[str, str]) -> str:
    """`name` with its beginning exchanged where the table has it."""
    start = next((s for s in table if name.startswith(s)), "")
    return table.get(start, "") + name[len(start) :]
