"""Checkpoints with an encoder of images beside the language model, against `transformers`.

    .deps/venv/bin/python Tests/Oracle/towers.py --binary .build/release/coppice [MODEL]...

Random tiny models, saved by `transformers` with norm weights that are not ones. Of each:

- the loss of text is that of `transformers`;
- pruned to what it is, every tensor has the same bytes and a prompt with an image the same logits;
- cut in everything, it loads with nothing missing, unexpected or mismatched, and computes a prompt with an image; what stands beside
  the language model and is not cut has the same bytes;
- its language model is the same, bit for bit, as that of the language model pruned alone; with `--recover`, too, where the stream can
  be rotated: what ends in it is turned along.

One line a model; the last line counts.
"""

import inspect
import json
import subprocess

import torch
import transformers
from safetensors.torch import save_file

import cases
from cases import ROOT, tensors

ROWS, LENGTH, IMAGE = 12, 48, 2040
TEXT = dict(
    vocab_size=2048, hidden_size=64, intermediate_size=96, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2,
    max_position_embeddings=512)
CUT = {"hidden_size": 48, "ffn_hidden_size": 64, "num_layers": 3}
# Qwen2.5-VL computes the size of a head from these two.
MIXED = {"hidden_size": 48, "num_moe_experts": 4, "moe_ffn_hidden_size": 16, "num_layers": 3}
CUTS = {"qwen2_5_vl": CUT | {"hidden_size": 32, "num_attention_heads": 2},
        "llama4": MIXED | {"moe_shared_expert_intermediate_size": 16, "ffn_hidden_size": 64},
        "kimi_k25": MIXED | {"moe_shared_expert_intermediate_size": 16, "ffn_hidden_size": 64},
        "qwen3_5_moe": MIXED | {"moe_shared_expert_intermediate_size": 24}, "qwen3_vl_moe": MIXED | {"ffn_hidden_size": 64}}
QWEN_VISION = dict(depth=2, hidden_size=32, intermediate_size=48, num_heads=2, patch_size=4, spatial_merge_size=2, temporal_patch_size=2,
                   out_hidden_size=64)
QWEN_IDS = dict(image_token_id=IMAGE, video_token_id=IMAGE + 1, vision_start_token_id=IMAGE + 2, vision_end_token_id=IMAGE + 3)


def qwen_image():
    """Sixteen patches, which are merged to four tokens."""
    return 4, dict(pixel_values=torch.randn(16, 3 * 2 * 4 * 4), image_grid_thw=torch.tensor([[1, 4, 4]])), QWEN_IDS["vision_start_token_id"]


def plain_image(tokens, size, **more):
    return lambda: (tokens, dict(pixel_values=torch.randn(1, 3, size, size), **more), None)


def qwen2_5_vl(tied=False):
    sections = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 3, 3]}
    config = transformers.Qwen2_5_VLConfig(
        text_config=dict(TEXT, rope_parameters=sections), vision_config=dict(QWEN_VISION, fullatt_block_indexes=[1], window_size=16),
        tie_word_embeddings=tied, **QWEN_IDS)
    return transformers.Qwen2_5_VLForConditionalGeneration(config), qwen_image


def qwen3_vl(tied=True):
    sections = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 2, 2], "mrope_interleaved": True}
    config = transformers.Qwen3VLConfig(
        text_config=dict(TEXT, head_dim=16, rope_parameters=sections, tie_word_embeddings=tied),
        vision_config=dict(QWEN_VISION, num_position_embeddings=16, deepstack_visual_indexes=[0, 1]), tie_word_embeddings=tied, **QWEN_IDS)
    return transformers.Qwen3VLForConditionalGeneration(config), qwen_image


def qwen3_5():
    sections = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1], "mrope_interleaved": True,
                "partial_rotary_factor": 0.5}
    text = dict(
        TEXT, head_dim=16, rope_parameters=sections, linear_key_head_dim=8, linear_value_head_dim=8, linear_num_key_heads=2,
        linear_num_value_heads=4, layer_types=["linear_attention", "full_attention"] * 2)
    config = transformers.Qwen3_5Config(
        text_config=text, vision_config=dict(QWEN_VISION, num_position_embeddings=16), **QWEN_IDS)
    return transformers.Qwen3_5ForConditionalGeneration(config), qwen_image


def qwen3_5_moe():
    sections = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [2, 1, 1], "mrope_interleaved": True,
                "partial_rotary_factor": 0.5}
    text = dict(
        TEXT, head_dim=16, rope_parameters=sections, linear_key_head_dim=8, linear_value_head_dim=8, linear_num_key_heads=2,
        linear_num_value_heads=4, layer_types=["linear_attention", "full_attention"] * 2, num_experts=6, num_experts_per_tok=2,
        moe_intermediate_size=24, shared_expert_intermediate_size=32)
    config = transformers.Qwen3_5MoeConfig(
        text_config=text, vision_config=dict(QWEN_VISION, num_position_embeddings=16), **QWEN_IDS)
    return transformers.Qwen3_5MoeForConditionalGeneration(config), qwen_image


def qwen3_vl_moe():
    sections = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [4, 2, 2], "mrope_interleaved": True}
    config = transformers.Qwen3VLMoeConfig(
        text_config=dict(TEXT, head_dim=16, rope_parameters=sections, num_experts=6, num_experts_per_tok=2, moe_intermediate_size=24,
                         mlp_only_layers=[1], tie_word_embeddings=False),
        vision_config=dict(QWEN_VISION, num_position_embeddings=16, deepstack_visual_indexes=[0, 1]), **QWEN_IDS)
    return transformers.Qwen3VLMoeForConditionalGeneration(config), qwen_image


def gemma3():
    config = transformers.Gemma3Config(
        text_config=dict(TEXT, head_dim=16, query_pre_attn_scalar=16, sliding_window=16,
                         layer_types=["sliding_attention", "full_attention"] * 2),
        vision_config=dict(hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2, image_size=16, patch_size=4),
        mm_tokens_per_image=4, image_token_index=IMAGE, boi_token_index=IMAGE + 1, eoi_token_index=IMAGE + 2)

    def image():
        return 4, dict(pixel_values=torch.randn(1, 3, 16, 16)), None
    return transformers.Gemma3ForConditionalGeneration(config), image


def gemma4(**more):
    """As E2B: with an encoder of sound, too, inputs of each layer's own, and a layer that reads another's keys."""
    text = dict(TEXT, head_dim=16, global_head_dim=32, sliding_window=16, layer_types=["sliding_attention", "full_attention"] * 2,
                hidden_size_per_layer_input=8, vocab_size_per_layer_input=TEXT["vocab_size"], num_kv_shared_layers=1,
                use_double_wide_mlp=True) | more
    config = transformers.Gemma4Config(
        text_config=text, vision_config=dict(
            hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=2, head_dim=16,
            patch_size=4, pooling_kernel_size=2, position_embedding_size=16),
        audio_config=None if more else dict(
            hidden_size=32, num_hidden_layers=1, num_attention_heads=2, subsampling_conv_channels=[8, 4], output_proj_dims=24),
        image_token_id=IMAGE, video_token_id=IMAGE + 1, audio_token_id=IMAGE + 2, boi_token_id=IMAGE + 3, eoi_token_id=IMAGE + 4)
    places = torch.tensor([[[x, y] for y in range(4) for x in range(4)]])

    def image():
        return 4, dict(pixel_values=torch.rand(1, 16, 48), image_position_ids=places), None
    return transformers.Gemma4ForConditionalGeneration(config), image


def mistral3():
    config = transformers.Mistral3Config(
        text_config=dict(TEXT, model_type="mistral", head_dim=16, sliding_window=None),
        vision_config=dict(model_type="pixtral", hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2,
                           image_size=16, patch_size=4, head_dim=16),
        image_token_index=IMAGE, tie_word_embeddings=False)
    return transformers.Mistral3ForConditionalGeneration(config), plain_image(4, 16, image_sizes=torch.tensor([[16, 16]]))


def llava(text="llama", **more):
    config = transformers.LlavaConfig(
        text_config=dict(TEXT, model_type=text, **more),
        vision_config=dict(model_type="clip_vision_model", hidden_size=32, intermediate_size=48, num_hidden_layers=2,
                           num_attention_heads=2, image_size=16, patch_size=4, projection_dim=32),
        image_token_index=IMAGE, vision_feature_layer=-1, image_seq_length=16)
    return transformers.LlavaForConditionalGeneration(config), plain_image(16, 16)


# What Llama 4's forward pass reads of its language model's outputs and these do not have (5.24.0).
transformers.modeling_outputs.MoeCausalLMOutputWithPast.image_outputs = None


def llama4():
    config = transformers.Llama4Config(
        text_config=dict(TEXT, model_type="llama4_text", head_dim=16, intermediate_size=32, intermediate_size_mlp=96,
                         num_local_experts=6, num_experts_per_tok=1, interleave_moe_layer_step=2, attention_chunk_size=16,
                         floor_scale=8, pad_token_id=0),
        vision_config=dict(hidden_size=32, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2, image_size=16,
                           patch_size=4, pixel_shuffle_ratio=0.5, projector_input_dim=48, projector_output_dim=48,
                           vision_output_dim=48),
        image_token_index=IMAGE, boi_token_index=IMAGE + 1, eoi_token_index=IMAGE + 2)
    return transformers.Llama4ForConditionalGeneration(config), plain_image(4, 16)


def kimi_k25():
    text = dict(
        TEXT, model_type="deepseek_v3", num_key_value_heads=4, q_lora_rank=24, kv_lora_rank=16, qk_nope_head_dim=16, qk_rope_head_dim=8,
        v_head_dim=16, n_routed_experts=6, num_experts_per_tok=2, moe_intermediate_size=24, n_shared_experts=1, first_k_dense_replace=1,
        n_group=1, topk_group=1, rope_interleave=True, tie_word_embeddings=False)
    config = transformers.Kimi_K25Config(
        text_config=text, vision_config=dict(
            hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=2, patch_size=4, pos_emb_height=4,
            pos_emb_width=4),
        projection_hidden_size=32, image_token_id=IMAGE, video_token_id=IMAGE + 1, vision_start_token_id=IMAGE + 2,
        vision_end_token_id=IMAGE + 3, tie_word_embeddings=False)

    def image():
        """Sixteen patches, which are merged to four tokens."""
        return 4, dict(pixel_values=torch.randn(16, 3, 4, 4), image_grid_thw=torch.tensor([[1, 4, 4]])), None
    return transformers.Kimi_K25ForConditionalGeneration(config), image


MODELS = {
    "kimi_k25": kimi_k25, "qwen2_5_vl": qwen2_5_vl, "qwen2_5_vl-tied": lambda: qwen2_5_vl(tied=True), "qwen3_vl": qwen3_vl,
    "qwen3_vl-untied": lambda: qwen3_vl(tied=False), "qwen3_5": qwen3_5,
    "qwen3_5_moe": qwen3_5_moe, "qwen3_vl_moe": qwen3_vl_moe, "gemma3": gemma3,
    "gemma4": lambda: gemma4(num_kv_shared_layers=0), "gemma4-sound": gemma4, "gemma4-mixture": lambda: gemma4(
        num_kv_shared_layers=0, enable_moe_block=True, num_experts=6, top_k_experts=2, moe_intermediate_size=24, attention_k_eq_v=True,
        num_global_key_value_heads=1, use_bidirectional_attention="vision", hidden_size_per_layer_input=0), "mistral3": mistral3, "llava": llava, "llama4": llama4,
    "llava-qwen2": lambda: llava("qwen2"), "llava-mistral": lambda: llava("mistral", sliding_window=None),
}


def make(name, folder):
    torch.manual_seed(3)
    model, image = MODELS[name]()
    with torch.no_grad():
        for key, tensor in model.named_parameters():
            if tensor.ndim == 1:
                tensor.copy_((0 if key.endswith("bias") else tensor) + 0.2 * torch.randn_like(tensor))
            else:
                tensor.copy_(0.15 * torch.randn_like(tensor))
    model.to(torch.bfloat16).save_pretrained(folder)
    if name in PUBLISHED:
        save_file(PUBLISHED[name](tensors(folder)), folder / "model.safetensors", {"format": "pt"})
    cases.add_tokenizer(folder)
    (folder / "preprocessor_config.json").write_text('{"image_processor_type": "Some"}\n')
    torch.manual_seed(4)
    return type(model), image()


def load(kind, folder):
    model, info = kind.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    wrong = {key: list(found)[:3] for key, found in info.items() if found and key != "error_msgs"}
    assert not wrong, f"{folder.name}: {wrong}"
    return model.eval()


def prompt(image):
    tokens, inputs, start = image
    ids = [5, 6, 7] + ([start] if start else []) + [IMAGE] * tokens + [8, 9, 10, 11]
    ids = torch.tensor([ids])
    more = {"mm_token_type_ids": (ids == IMAGE).int(), "token_type_ids": (ids == IMAGE).int()}
    return ids, inputs, more


def logits(model, image):
    ids, inputs, more = prompt(image)
    accepted = inspect.signature(type(model).forward).parameters
    with torch.no_grad():
        return model(input_ids=ids, **inputs, **{key: value for key, value in more.items() if key in accepted}).logits


def run(*arguments):
    done = subprocess.run([str(a) for a in arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def apart(own):
    """Qwen3-VL's experts as Qwen3 has them: a matrix [out, in] for each."""
    found = {}
    for name, tensor in own.items():
        begin, _, last = name.rpartition(".")
        if not begin.endswith(".experts"):
            found[name] = tensor
            continue
        for expert, matrix in enumerate(tensor):
            parts = {"gate_up_proj": ("gate_proj", "up_proj"), "down_proj": ("down_proj",)}[last]
            for part, rows in zip(parts, matrix.T.chunk(len(parts))):
                found[f"{begin}.{expert}.{part}.weight"] = rows.contiguous()
    return found


def stacked(own):
    """Experts that are stored one by one as a tensor for each layer: Qwen3.5's."""
    found = {name: tensor for name, tensor in own.items() if ".experts." not in name}
    for name in own:
        begin, found_one, last = name.partition(".experts.0.")
        if found_one and last != "up_proj.weight":
            parts = ["gate_proj", "up_proj"] if last == "gate_proj.weight" else ["down_proj"]
            count = sum(1 for other in own if other.startswith(begin + ".experts.") and other.endswith(last))
            found[f"{begin}.experts.{'gate_up_proj' if len(parts) == 2 else 'down_proj'}"] = torch.stack(
                [torch.cat([own[f"{begin}.experts.{e}.{part}.weight"] for part in parts]) for e in range(count)])
    return found


def transposed(own):
    """Experts as Qwen3-VL has them."""
    return {name: tensor.mT.contiguous() if ".experts." in name else tensor for name, tensor in own.items()}


def layered(own):
    """Kimi K2.5's language model with its published names: what turns the encoder's layers into blocks turns them, too (5.24.0)."""
    return {name.replace("language_model.model.blocks.", "language_model.model.layers.").replace("model.mm_projector.", "mm_projector.")
            .replace("vision_tower.encoder.patch_embed", "vision_tower.patch_embed"): tensor for name, tensor in own.items()}


# What `transformers` saves in another layout than that of the published files.
PUBLISHED = {"kimi_k25": layered, "qwen3_5_moe": stacked, "qwen3_vl_moe": transposed}


def alone(source, folder):
    """The language model as a checkpoint of its own."""
    folder.mkdir()
    config = json.loads((source / "config.json").read_text())
    text = dict(config.get("text_config", config))
    kind = text["model_type"]
    text["model_type"] = {"qwen2_5_vl_text": "qwen2", "qwen3_vl_text": "qwen3", "qwen3_vl_moe_text": "qwen3_moe"}.get(kind, kind)
    if kind == "qwen3_vl_moe_text":
        text["norm_topk_prob"] = True
    text["tie_word_embeddings"] = config.get("tie_word_embeddings", text.get("tie_word_embeddings", kind in ("gemma3_text", "gemma4_text")))
    (folder / "config.json").write_text(json.dumps(text))
    own = {}
    for name, tensor in tensors(source).items():
        for begin, end in (("model.language_model.", "model."), ("language_model.model.", "model."), ("language_model.", ""),
                           ("model.embed_tokens", None), ("model.layers", None), ("model.norm", None), ("lm_head", None)):
            if name.startswith(begin):
                own[name if end is None else end + name[len(begin):]] = tensor
                break
    if kind == "qwen3_vl_moe_text":
        own = apart(own)
    save_file(own, folder / "model.safetensors", {"format": "pt"})
    cases.add_tokenizer(folder)


def own_name(name):
    for begin, end in (("model.language_model.", "model."), ("language_model.model.", "model."), ("language_model.", "")):
        if name.startswith(begin):
            return end + name[len(begin):]
    return name


def check(name, binary, work):
    source = work / name
    kind, image = make(name, source)
    original = load(kind, source)
    data = ["--calib_dataset_name", ROOT / "Examples/data/calib.jsonl", "--calib_num_samples", ROWS, "--seq_length", LENGTH]

    def prune(model, out, cut, *more):
        run(binary, "prune", "--hf_model_name_or_path", model, "--output_hf_path", out, "--prune_export_config", json.dumps(cut), *data,
            "--compute_dtype", "float32", "--prune_intermediate_ckpt", work / f"{out.name}-kept", "--quiet", *more)

    # Text.
    listed = run(binary, "tokenize", "--hf_model_name_or_path", source, *data)
    rows = torch.tensor([json.loads(line) for line in listed.splitlines()])
    with torch.no_grad():
        expected = original(input_ids=rows).logits[:, :-1].log_softmax(-1).gather(-1, rows[:, 1:, None]).mean().neg().item()
    found = json.loads(run(
        binary, "eval", "--hf_model_name_or_path", source, "--eval_dataset_name", ROOT / "Examples/data/calib.jsonl", "--eval_num_samples",
        ROWS, "--seq_length", LENGTH, "--compute_dtype", "float32", "--json"))
    loss = found["loss"]["mean"]
    assert abs(loss - expected) < 2e-5, f"loss {loss}, transformers {expected}"

    # Nothing cut.
    same = work / f"{name}-same"
    prune(source, same, {"hidden_size": 64})
    before, after = tensors(source), tensors(same)
    for key, tensor in before.items():
        other = after.get(key)
        assert other is not None and torch.equal(other, tensor), f"{key} differs after pruning to the same"
    assert set(after) == set(before), set(after) ^ set(before)
    difference = (logits(load(kind, same), image) - logits(original, image)).abs().max().item()
    assert difference == 0, f"logits of a prompt with an image differ by {difference}"

    # Cut.
    out, plain = work / f"{name}-cut", work / f"{name}-plain"
    cut = CUTS.get(name.split("-")[0], CUT)
    prune(source, out, cut)
    assert (out / "preprocessor_config.json").exists()
    pruned = load(kind, out)
    assert torch.isfinite(logits(pruned, image)).all()
    moved = logits(pruned, (image[0], {k: torch.randn_like(v) if v.is_floating_point() else v for k, v in image[1].items()}, image[2]))
    assert (moved - logits(pruned, image)).abs().max() > 1e-4, "images make no difference"
    after = tensors(out)
    carried = [key for key in before if key in after and before[key].shape == after[key].shape and "layers" not in own_name(key)]
    for key in carried:
        if "visual" in key or "vision" in key:
            assert torch.equal(before[key], after[key]), f"{key} is not carried as it was"
    alone(source, plain)
    prune(plain, work / f"{name}-plain-cut", cut)
    as_alone = apart if name == "qwen3_vl_moe" else lambda own: own
    compared = compare(as_alone(after), tensors(work / f"{name}-plain-cut"))
    if not name.startswith("gemma"):
        turned = work / f"{name}-turned"
        prune(source, turned, cut, "--recover")
        prune(plain, work / f"{name}-plain-turned", cut, "--recover")
        # Gate and up in one tensor are one map, which is refitted or not as a whole: not as they are alone.
        if name != "qwen3_vl_moe":
            compare(tensors(turned), tensors(work / f"{name}-plain-turned"))
        assert torch.isfinite(logits(load(kind, turned), image)).all()
    learned = distilled(kind, image, binary, out, source, work / f"{name}-taught", work / f"{name}-plain-cut", plain)
    return f"{len(before)} tensors, {compared} of the language model as pruned alone{learned}, {sum(p.numel() for p in pruned.parameters())} parameters left"


def distilled(kind, image, binary, student, teacher, out, plain_student, plain_teacher):
    """Text alone is learned: the language model is the one that learns alone, and the rest is as it was."""
    results = []
    for one, other, place in ((student, teacher, out), (plain_student, plain_teacher, out.with_name(out.name + "-plain"))):
        done = subprocess.run(
            [str(word) for word in (
                binary, "distill", "--student_hf_path", one, "--teacher_hf_path", other, "--output_dir", place, "--data_paths",
                ROOT / "Examples/data/calib.jsonl", "--seq_length", LENGTH, "--gbs", 4, "--train_iters", 3, "--lr", "1e-2",
                "--lr_warmup_iters", 1, "--eval_iters", 0, "--compute_dtype", "float32", "--quiet")], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        results.append(tensors(place / "hf"))
    before, after = tensors(student), results[0]
    assert set(before) == set(after)
    # Gate and up in one tensor are one product on the way back, whose sums are rounded otherwise than two.
    joined = "vl_moe" in out.name
    compare(apart(after) if joined else after, results[1], within=2e-6 if joined else 0)
    moved = [key for key in before if not torch.equal(before[key], after[key])]
    assert moved and all("visual" not in key and "vision" not in key and "projector" not in key for key in moved), moved[:3]
    assert torch.isfinite(logits(load(kind, out / "hf"), image)).all()
    return f" and distilled ({len(moved)} tensors moved)"


def compare(after, text, within=0):
    """The language model's tensors in a larger model with those alone."""
    compared = 0
    for key, tensor in after.items():
        if own_name(key) in text:
            other = text[own_name(key)]
            same = torch.equal(tensor, other) if within == 0 else torch.allclose(tensor, other, rtol=0, atol=within)
            assert same, f"{key} differs from the language model's pruned alone"
            compared += 1
    assert compared == len(text), f"{compared} of {len(text)} tensors of the language model"
    return compared


if __name__ == "__main__":
    cases.run(__doc__, MODELS, check)
