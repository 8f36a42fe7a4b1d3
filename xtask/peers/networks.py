"""Architectures of timm and torchvision as both of PyTorch's exporters write them, compared with ONNX Runtime.

    python networks.py export FOLDER [NAME...]     writes each as four files, with an input and ONNX Runtime's output
    python networks.py table FOLDER LINES          makes docs/results/networks.md's table; LINES is what
                                                   crates/model/examples/networks.rs says of FOLDER
    python networks.py gradients FOLDER NAME...    compares what crates/model/examples/gradients.rs wrote of each NAME, such as
                                                   swin_t.dynamo-open, with PyTorch's gradients in f64
    python networks.py names                       lists the architectures

Weights are random and seeded by the name. Those that start as zero or nearly so (layer scales, the last normalisation of a
residual block) are drawn too: otherwise whole blocks would add nothing, and a wrong one would not be seen. `script` is
TorchScript's exporter, `dynamo` the newer one; the batch is `open` or fixed at `one`. What is exported already is left alone.
Needs torch, torchvision, timm, onnx, onnxscript, onnxruntime and safetensors.
"""
import collections, contextlib, io, json, os, pathlib, sys, warnings, zlib

# The smallest of each family. Pictures are smaller than usual where a network takes any size.
TORCHVISION = {
    "alexnet": 96, "convnext_tiny": 64, "densenet121": 64, "efficientnet_b0": 64, "efficientnet_v2_s": 64, "googlenet": 64,
    "inception_v3": 96, "maxvit_t": 224, "mnasnet0_5": 64, "mobilenet_v2": 64, "mobilenet_v3_small": 64, "regnet_x_400mf": 64,
    "regnet_y_400mf": 64, "resnet18": 64, "resnet50": 64, "resnext50_32x4d": 64, "shufflenet_v2_x0_5": 64, "squeezenet1_1": 64,
    "swin_t": 64, "swin_v2_t": 64, "vgg11_bn": 64, "vit_b_32": 224, "wide_resnet50_2": 64,
}
TIMM = {
    "bat_resnext26ts": 256, "beit_base_patch16_224": 224, "botnet26t_256": 256, "caformer_s18": 96, "cait_xxs24_224": 224,
    "coat_lite_tiny": 224, "coatnet_pico_rw_224": 224, "convit_tiny": 224, "convmixer_768_32": 64, "convnext_atto": 64,
    "convnextv2_atto": 64, "crossvit_9_240": 240, "cspresnet50": 64, "davit_tiny": 224, "deit_tiny_patch16_224": 224,
    "deit_tiny_distilled_patch16_224": 224, "dla46_c": 64, "dpn68": 64, "eca_halonext26ts": 256, "ecaresnet26t": 64,
    "edgenext_xx_small": 64, "efficientformer_l1": 224, "efficientformerv2_s0": 224, "efficientvit_b0": 64, "efficientvit_m0": 224,
    "ese_vovnet19b_slim_dw": 64, "eva02_tiny_patch14_224": 224, "fastvit_t8": 64, "fbnetc_100": 64, "flexivit_small": 240,
    "focalnet_tiny_srf": 64, "gcvit_xxtiny": 224, "gernet_s": 64, "ghostnet_050": 64, "ghostnetv2_100": 64, "gmlp_ti16_224": 224,
    "halonet26t": 256, "hardcorenas_a": 64, "hgnetv2_b0": 64, "hiera_tiny_224": 224, "hrnet_w18_small": 64,
    "inception_next_atto": 64, "lambda_resnet26t": 256, "lcnet_035": 64, "levit_128s": 224, "mambaout_femto": 64,
    "maxvit_rmlp_pico_rw_256": 256, "mixer_s32_224": 224, "mixnet_s": 64, "mobilenetv3_small_050": 64, "mobilenetv4_conv_small": 64,
    "mobileone_s0": 64, "mobilevit_xxs": 64, "mobilevitv2_050": 64, "mvitv2_tiny": 224, "nest_tiny": 224, "nf_regnet_b0": 64,
    "pit_ti_224": 224, "poolformer_s12": 64, "pvt_v2_b0": 64, "rdnet_tiny": 64, "regnety_002": 64, "repghostnet_050": 64,
    "repvgg_a0": 64, "repvit_m0_9": 64, "res2net50_26w_4s": 64, "resmlp_12_224": 224, "resnest14d": 64, "resnetv2_18": 64,
    "rexnet_100": 64, "sequencer2d_s": 224, "seresnet18": 64, "shvit_s1": 64, "skresnet18": 64, "starnet_s050": 64,
    "swiftformer_xs": 224, "swin_tiny_patch4_window7_224": 224, "swinv2_tiny_window8_256": 256, "swinv2_cr_tiny_ns_224": 224,
    "tf_efficientnetv2_b0": 64, "tiny_vit_5m_224": 224, "tinynet_e": 64, "tnt_s_patch16_224": 224, "twins_svt_small": 224,
    "visformer_tiny": 224, "vit_relpos_small_patch16_224": 224, "vit_tiny_patch16_224": 224, "vitamin_small_224": 224,
    "volo_d1_224": 224, "xcit_nano_12_p16_224": 224,
}
# Those that people ask about come first, so that a part of the list is a fair one.
FIRST = ["swin_t", "convnext_tiny", "swin_v2_t", "vit_tiny_patch16_224", "deit_tiny_patch16_224", "beit_base_patch16_224",
         "eva02_tiny_patch14_224", "levit_128s", "botnet26t_256", "halonet26t", "convnext_atto", "swin_tiny_patch4_window7_224",
         "maxvit_rmlp_pico_rw_256", "coatnet_pico_rw_224", "edgenext_xx_small", "focalnet_tiny_srf", "poolformer_s12",
         "ghostnet_050", "googlenet", "shufflenet_v2_x0_5", "inception_v3", "densenet121", "mnasnet0_5", "resnext50_32x4d",
         "mobilenet_v3_small", "efficientnet_b0", "regnet_y_400mf", "convmixer_768_32", "swinv2_tiny_window8_256", "maxvit_t"]
SIZES = {**TORCHVISION, **TIMM}
NAMES = FIRST + [name for name in SIZES if name not in FIRST]
VARIANTS = [(exporter, batch) for exporter in ("script", "dynamo") for batch in ("open", "one")]


def network(name):
    import timm, torch, torchvision
    torch.manual_seed(zlib.crc32(name.encode()))
    if name in TORCHVISION:
        aux = {"aux_logits": False} if name in ("googlenet", "inception_v3") else {}
        net = getattr(torchvision.models, name)(weights=None, num_classes=10, **aux)
    else:
        net = timm.create_model(name, num_classes=10, exportable=True)
    for key, tensor in [*net.named_parameters(), *net.named_buffers()]:
        with torch.no_grad():
            if key.endswith("running_mean"):
                tensor.normal_(0, 0.1)
            elif key.endswith("running_var"):
                tensor.uniform_(0.7, 1.4)
            elif isinstance(tensor, torch.nn.Parameter) and (tensor.std() if tensor.numel() > 1 else tensor * 0) < 1e-3:
                # A constant: zero, one, or a layer scale of 1e-6.
                around = float(tensor.mean())
                tensor.add_(torch.empty_like(tensor).uniform_(-0.1, 0.1) if abs(around) > 0.5 else torch.empty_like(tensor).uniform_(0.05, 0.3))
    return net.eval()


def export(folder, name):
    import numpy as np, onnxruntime, torch
    from safetensors.numpy import save_file
    todo = [one for one in VARIANTS if not any((folder / f"{name}.{one[0]}-{one[1]}{end}").exists() for end in (".safetensors", ".failed"))]
    if not todo:
        return
    size, net = SIZES[name], network(name)
    pictures = torch.from_numpy(np.random.default_rng(1).standard_normal((2, 3, size, size), dtype=np.float32))
    for exporter, batch in todo:
        stem = folder / f"{name}.{exporter}-{batch}"
        example = pictures if batch == "open" else pictures[:1]
        try:
            with contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
                if exporter == "script":
                    axes = {"dynamic_axes": {"x": {0: "batch"}}} if batch == "open" else {}
                    torch.onnx.export(net, (example,), f"{stem}.onnx", dynamo=False, input_names=["x"], output_names=["y"], **axes)
                else:
                    axes = {"dynamic_shapes": ({0: torch.export.Dim("batch", min=1, max=64)},)} if batch == "open" else {}
                    torch.onnx.export(net, (example,), f"{stem}.onnx", dynamo=True, input_names=["x"], output_names=["y"], external_data=False, **axes)
            session = onnxruntime.InferenceSession(f"{stem}.onnx", providers=["CPUExecutionProvider"])
            run = lambda one: session.run(None, {session.get_inputs()[0].name: one})[0].reshape(len(one), -1)
            one = pictures.numpy()
            output = run(one) if batch == "open" else np.concatenate([run(one[:1]), run(one[1:])])
            with torch.no_grad():
                own = net(pictures).numpy()
            apart = float(np.abs(own - output).max() / np.abs(own).max())
            save_file({"input": one, "output": output, "torch": own}, f"{stem}.safetensors")
            print(f"{stem.name}: ONNX Runtime and PyTorch differ by {apart:.1e}", flush=True)
        except Exception as error:
            with contextlib.suppress(FileNotFoundError):
                os.remove(f"{stem}.onnx")
            pathlib.Path(f"{stem}.failed").write_text(f"{type(error).__name__}: {' '.join(str(error).split())[:300]}\n")
            print(f"{stem.name}: {type(error).__name__}", flush=True)


def table(folder, lines):
    found = {(one["name"]): one for one in map(json.loads, open(lines)) if one}
    counts = collections.Counter()
    print("| architecture | " + " | ".join(f"{exporter}, {batch}" for exporter, batch in VARIANTS) + " |\n|---|" + "---|" * len(VARIANTS))
    for name in NAMES:
        cells = []
        for exporter, batch in VARIANTS:
            stem = f"{name}.{exporter}-{batch}"
            if stem in found:
                one = found[stem]
                good = one.get("difference", 1) <= 1e-4
                counts[exporter, batch, "agrees" if good else "refused" if "error" in one else "differs"] += 1
                cells.append(f"{one['difference']:.0e}" if good else f"refused: {one['error']}" if "error" in one else f"**{one['difference']:.0e}**")
            elif (folder / f"{stem}.failed").exists():
                counts[exporter, batch, "not exported"] += 1
                cells.append("not exported")
            else:
                cells.append("")
        if any(cells):
            print(f"| {name} | " + " | ".join(cells) + " |")
    for exporter, batch in VARIANTS:
        print(f"\n{exporter}, {batch}: " + ", ".join(f"{counts[exporter, batch, what]} {what}" for what in ("agrees", "differs", "refused", "not exported")))


def layouts(tensor):
    """A module's output as it is, and with its channels where the other layout has them."""
    yield tensor
    if tensor.ndim == 4:
        yield tensor.permute(0, 3, 1, 2)
        yield tensor.permute(0, 2, 3, 1)
    if tensor.ndim == 3:
        yield tensor.transpose(1, 2)


def gradients(folder, stem):
    """Of the first output: at the input, and at whichever module gives what our layer gave."""
    import torch
    from safetensors.torch import load_file
    net = network(stem.split(".")[0]).double()
    ours = load_file(folder / f"{stem}.gradients.safetensors")
    picture = load_file(folder / f"{stem}.safetensors")["input"].double().requires_grad_()
    seen = []

    def keep(name):
        def hook(module, arguments, output):
            if isinstance(output, torch.Tensor) and output.requires_grad:
                seen.append((name, output))
        return hook

    for name, module in net.named_modules():
        module.register_forward_hook(keep(name))
    score = net(picture)[:, 0].sum()
    score.backward(retain_graph=True, inputs=[picture])
    apart = lambda own, theirs: float((own - theirs).abs().max() / theirs.abs().max())
    line = f"| {stem} | {apart(ours['input_gradient'], picture.grad):.0e} |"
    if "activation" in ours:
        same = ((apart(ours["activation"], one.detach()), name, place, output) for name, output in seen
                for place, one in enumerate(layouts(output)) if one.shape == ours["activation"].shape)
        best = min(same, default=None, key=lambda one: one[0])
        if best and best[0] < 1e-4:
            gradient = torch.autograd.grad(score, best[3])[0]
            line += f" {best[1]} | {best[0]:.0e} | {apart(ours['gradient'], list(layouts(gradient))[best[2]]):.0e} |"
        else:
            line += f" no module gives this layer | {best[0] if best else float('nan'):.0e} | |"
    print(line, flush=True)


def main():
    warnings.filterwarnings("ignore")
    if sys.argv[1:2] == ["names"]:
        print(*NAMES)
    elif sys.argv[1:2] == ["export"] and len(sys.argv) > 2:
        import logging, torch
        logging.disable(logging.WARNING)
        torch.set_num_threads(1)
        folder = pathlib.Path(sys.argv[2])
        folder.mkdir(parents=True, exist_ok=True)
        for name in sys.argv[3:] or NAMES:
            export(folder, name)
    elif sys.argv[1:2] == ["gradients"] and len(sys.argv) > 3:
        print("| network | input gradient | module that gives the layer | activation | gradient |\n|---|---|---|---|---|")
        for stem in sys.argv[3:]:
            gradients(pathlib.Path(sys.argv[2]), stem)
    elif sys.argv[1:2] == ["table"] and len(sys.argv) == 4:
        table(pathlib.Path(sys.argv[2]), sys.argv[3])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main()
