"""Convolutions of a dynamically quantized ONNX graph back in float32, which onnxruntime runs several times as fast on a
CPU: its integer convolution has no fast kernel."""

import collections
from typing import Any


def float_convolutions(model: Any) -> int:
    """Replace every ConvInteger of `model` (an onnx.ModelProto), and the scaling around it, by a Conv with the weights
    dequantized; returns how many were replaced. What fed the replaced nodes falls away when the graph is optimized."""
    from onnx import helper, numpy_helper

    graph = model.graph
    values = {tensor.name: tensor for tensor in graph.initializer}
    producer = {output: node for node in graph.node for output in node.output}
    consumers = collections.defaultdict(list)
    for node in graph.node:
        for name in node.input:
            consumers[name].append(node)

    def array(name: str) -> Any:
        return numpy_helper.to_array(values[name])

    replaced = {}
    dropped = set()
    for node in graph.node:
        if node.op_type != "ConvInteger":
            continue
        follower, bias = consumers[node.output[0]][0], None
        chain = [node]
        if follower.op_type == "Add":
            other = next(name for name in follower.input if name != node.output[0])
            bias = _quantized_bias(other, producer, values)
            chain.append(follower)
            follower = consumers[follower.output[0]][0]
        chain.append(follower)  # Cast
        scaled = consumers[follower.output[0]][0]
        chain.append(scaled)
        scales = producer[next(name for name in scaled.input if name != follower.output[0])]
        scale = array(next(name for name in scales.input if name in values))
        zero = array(node.input[3]).astype("float32") if len(node.input) > 3 else 0.0
        weight = (array(node.input[1]).astype("float32") - zero) * scale
        quantizer = producer[node.input[0]]
        name = f"{node.name}_weight"
        graph.initializer.append(numpy_helper.from_array(weight.astype("float32"), name))
        inputs = [quantizer.input[0], name, *([bias] if bias else [])]
        convolution = helper.make_node("Conv", inputs, [scaled.output[0]], name=f"{node.name}_float")
        convolution.attribute.extend(node.attribute)
        replaced[id(scaled)] = convolution
        dropped.update(id(part) for part in chain)
    nodes = [
        replaced.get(id(node), node) for node in graph.node if id(node) in replaced or id(node) not in dropped
    ]
    del graph.node[:]
    graph.node.extend(nodes)
    return len(replaced)


def _quantized_bias(name: str, producer: dict[str, Any], values: dict[str, Any]) -> str:
    """The float bias behind Reshape, Cast, Floor and Div."""
    while name not in values:
        name = producer[name].input[0]
    return name
