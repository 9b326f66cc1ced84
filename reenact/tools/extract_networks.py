"""Make the face and selfie networks that come with the package, out of the wheel of mediapipe 0.10.21.

Four are copied. The attention mesh has operations that LiteRT does not know between its two halves
(`reenact.faces.face_mesh` does them), so it is cut in two.
"""

import hashlib
import zipfile
from collections.abc import Sequence
from pathlib import Path

from reenact.faces.litert import NETWORKS
from reenact.runtime.downloads import check_sha256
from reenact.runtime.files import atomic_write, write_text

WHEEL = "05dc4a9e593655a79558d05d6227d31018c2537a4bd3362b51e230cf22aecfe3"
"""SHA-256 of mediapipe-0.10.21-cp311-cp311-manylinux_2_28_x86_64.whl."""
COPIED = {
    "face_near.tflite": "face_detection/face_detection_short_range.tflite",
    "face_far.tflite": "face_detection/face_detection_full_range_sparse.tflite",
    "selfie_general.tflite": "selfie_segmentation/selfie_segmentation.tflite",
    "selfie_landscape.tflite": "selfie_segmentation/selfie_segmentation_landscape.tflite",
}
MESH = "face_landmark/face_landmark_with_attention.tflite"
HALVES = {
    "face_mesh.tflite": (["input_1"], ["output_mesh", "p_re_lu_3", "conv_faceflag"]),
    "face_mesh_details.tflite": (
        ["transform_tensor_bilinear_v2", "transform_tensor_bilinear_v2_1", "transform_tensor_bilinear_v2_2"],
        ["conv_lips", "conv_left_eye", "conv_left_iris", "conv_right_eye", "conv_right_iris"],
    ),
}
"""File -> names of the tensors that are its inputs and its outputs."""


def extract_networks(*, wheel: Path, folder: Path = NETWORKS) -> None:
    """Write the six networks and SHA256SUMS.

    Args:
        wheel: of mediapipe 0.10.21.
        folder: where to.

    Raises:
        UserError: it is another wheel, or the folder cannot be written.
    """
    check_sha256(wheel, WHEEL, str(wheel))
    with zipfile.ZipFile(wheel) as archive:
        files = {name: archive.read(f"mediapipe/modules/{member}") for name, member in COPIED.items()}
        mesh = archive.read(f"mediapipe/modules/{MESH}")
    files |= {name: cut(mesh, inputs, outputs) for name, (inputs, outputs) in HALVES.items()}
    for name, data in files.items():
        with atomic_write(folder / name) as temporary:
            temporary.write_bytes(data)
    sums = [f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in sorted(files.items())]
    write_text(folder / "SHA256SUMS", "".join(sums))


def cut(network: bytes, inputs: Sequence[str], outputs: Sequence[str]) -> bytes:
    """The part of a TensorFlow Lite network between some of its tensors, as a network of its own.

    Args:
        network: a .tflite file with one graph.
        inputs, outputs: names of tensors.
    """
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(network, 0)
    (graph,) = model.subgraphs
    numbers = {tensor.name.decode(): number for number, tensor in enumerate(graph.tensors)}
    first, last = [numbers[name] for name in inputs], [numbers[name] for name in outputs]
    graph.operators = _between(graph.operators, first, last)
    linked = {int(t) for operator in graph.operators for t in [*operator.inputs, *operator.outputs] if t >= 0}
    graph.tensors, number = _kept(graph.tensors, linked | {*first, *last})
    number[-1] = -1  # an input that is left out
    for operator in graph.operators:
        operator.inputs = [number[int(t)] for t in operator.inputs]
        operator.outputs = [number[int(t)] for t in operator.outputs]
    graph.inputs, graph.outputs = [number[t] for t in first], [number[t] for t in last]
    # The first buffer is the empty one.
    model.buffers, number = _kept(model.buffers, {0} | {tensor.buffer for tensor in graph.tensors})
    for tensor in graph.tensors:
        tensor.buffer = number[tensor.buffer]
    model.operatorCodes, number = _kept(model.operatorCodes, {operator.opcodeIndex for operator in graph.operators})
    for operator in graph.operators:
        operator.opcodeIndex = number[operator.opcodeIndex]
    model.metadata = model.metadataBuffer = model.signatureDefs = None
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _between(operators: list, first: list[int], last: list[int]) -> list:
    """The operators that make the last tensors from the first ones, in their order."""
    made_by = {int(tensor): operator for operator in operators for tensor in operator.outputs}
    needed: set[int] = set()
    wanted = list(last)
    while wanted:
        tensor = wanted.pop()
        operator = made_by.get(tensor)
        if tensor not in first and operator is not None and id(operator) not in needed:
            needed.add(id(operator))
            wanted += [int(t) for t in operator.inputs if t >= 0]
    return [operator for operator in operators if id(operator) in needed]


def _kept(items: list, numbers: set[int]) -> tuple[list, dict[int, int]]:
    """The items of these numbers, and the number that each has now."""
    order = sorted(numbers)
    return [items[number] for number in order], {old: new for new, old in enumerate(order)}
