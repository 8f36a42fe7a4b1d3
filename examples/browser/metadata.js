// What an ONNX file says of itself. onnxruntime-web does not show it, and it lies at the end of the file: names and values in field 14 of
// the model's message (onnx.proto3, `ModelProto.metadata_props`).

const fields = function* (bytes, from, to) {
  let at = from;
  const varint = () => {
    let [value, shift] = [0, 1];
    for (;;) {
      if (at >= to) throw new Error("this is no ONNX file: it ends too early");
      const byte = bytes[at];
      at += 1;
      value += (byte & 127) * shift;
      if (byte < 128) return value;
      shift *= 128;
    }
  };
  while (at < to) {
    const key = varint();
    const [field, kind] = [Math.floor(key / 8), key % 8];
    if (kind === 0) varint();
    else if (kind === 1) at += 8;
    else if (kind === 5) at += 4;
    else if (kind === 2) {
      const length = varint();
      yield { field, from: at, to: at + length };
      at += length;
    } else throw new Error("this is no ONNX file");
    if (at > to) throw new Error("this is no ONNX file: it ends too early");
  }
};

export const propertiesOf = (bytes) => {
  const text = ({ from, to }) => new TextDecoder().decode(bytes.subarray(from, to));
  const properties = {};
  for (const entry of fields(bytes, 0, bytes.length)) {
    if (entry.field !== 14) continue;
    const pair = { 1: "", 2: "" };
    for (const part of fields(bytes, entry.from, entry.to)) pair[part.field] = text(part);
    properties[pair[1]] = pair[2];
  }
  return properties;
};
