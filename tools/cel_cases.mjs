// Turns the test data of @bufbuild/cel-spec into one flat list of cases.
// Usage: node cel_cases.mjs FOLDER_OF_TEST_DATA OUTPUT.json
//
// A case: {suite, name, expr, container, variables: {name: type}, functions: [{name, member, parameters,
// result}], bindings: {name: value}, check, expect: {kind: value | error | type | accept | refuse, ...}, goType, skip}. Types are text ("list(int)"); values are one-member objects ({"int": "1"}, {"list": [...]}).
// `skip` says which protobuf message a case needs; such cases are kept, so that they can be listed.
import { writeFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [folder, output] = process.argv.slice(2);

class NeedsMessage extends Error {}

const primitives = { BOOL: "bool", INT64: "int", UINT64: "uint", DOUBLE: "double", STRING: "string", BYTES: "bytes" };
const knownMessages = { "google.protobuf.Duration": "duration", "google.protobuf.Timestamp": "timestamp" };

function typeText(type) {
  const [kind, held] = Object.entries(type)[0];
  switch (kind) {
    case "primitive": return primitives[held];
    case "null": return "null";
    case "dyn": return "dyn";
    case "typeParam": return held;
    case "listType": return `list(${typeText(held.elemType)})`;
    case "mapType": return `map(${typeText(held.keyType)}, ${typeText(held.valueType)})`;
    case "type": return `type(${typeText(held)})`;
    case "wellKnown":
      if (held === "DURATION") return "duration";
      if (held === "TIMESTAMP") return "timestamp";
      throw new NeedsMessage(`type google.protobuf.${held}`);
    case "abstractType":
      return held.parameterTypes ? `${held.name}(${held.parameterTypes.map(typeText).join(", ")})` : held.name;
    case "messageType":
      if (knownMessages[held]) return knownMessages[held];
      throw new NeedsMessage(`type ${held}`);
    case "wrapper": throw new NeedsMessage(`wrapper type of ${held}`);
    default: throw new Error(`unknown type ${JSON.stringify(type)}`);
  }
}

function value(from) {
  const [kind, held] = Object.entries(from)[0];
  switch (kind) {
    case "nullValue": return { null: null };
    case "boolValue": return { bool: held };
    case "int64Value": return { int: String(held) };
    case "uint64Value": return { uint: String(held) };
    case "doubleValue": return { double: Object.is(held, -0) ? "-0.0" : String(held) };
    case "stringValue": return { string: held };
    case "bytesValue": return { bytes: held };
    case "typeValue": return { type: held };
    case "listValue": return { list: (held.values ?? []).map(value) };
    case "mapValue": return { map: (held.entries ?? []).map((e) => [value(e.key), value(e.value)]) };
    case "enumValue": throw new NeedsMessage(`enum ${held.type}`);
    case "objectValue": {
      const name = held["@type"].replace(/^.*\//, "");
      if (name === "google.protobuf.Duration") return { duration: held.value };
      if (name === "google.protobuf.Timestamp") return { timestamp: held.value };
      throw new NeedsMessage(`a value of type ${name}`);
    }
    default: throw new Error(`unknown value ${JSON.stringify(from)}`);
  }
}

// What an expression itself asks for, with its texts taken out.
function neededByExpression(expr) {
  const bare = expr
    .replace(/[rRbB]{0,2}("""[^]*?"""|'''[^]*?''')/g, '""')
    .replace(/(?<![\w])[rR][bB]?("[^"]*"|'[^']*')/g, '""')
    .replace(/"(\\.|[^"\\])*"|'(\\.|[^'\\])*'/g, '""');
  const literal = bare.match(/\.?[A-Za-z_][\w.]*\s*(?=\{)/);
  if (literal && literal[0].trim() !== "in") return `a literal of message ${literal[0].trim()}`;
  const name = bare.match(/\b(google\.protobuf\.(?!Duration\b|Timestamp\b)\w+|(cel\.expr\.conformance[\w.]*|TestAllTypes|NestedTestAllTypes|GlobalEnum|NestedEnum|NullValue)[\w.]*)/);
  if (name) return `the descriptor of ${name[0]}`;
  const extension = bare.match(/\bproto\.(hasExt|getExt)\b/);
  if (extension) return "extension fields of a message";
  return "";
}

function convert(suite, test) {
  const from = test.original;
  const out = { suite, name: from.name ?? from.expr.replace(/\s+/g, " ").trim(), expr: from.expr, check: !from.disableCheck };
  if (from.container) out.container = from.container;
  if (test.type) out.goType = test.type;
  try {
    for (const declaration of from.typeEnv ?? []) {
      if (declaration.ident) (out.variables ??= {})[declaration.name] = typeText(declaration.ident.type);
      for (const overload of declaration.function?.overloads ?? [])
        (out.functions ??= []).push({
          name: declaration.name,
          member: overload.isInstanceFunction ?? false,
          parameters: (overload.params ?? []).map(typeText),
          result: typeText(overload.resultType),
        });
    }
    for (const [name, bound] of Object.entries(from.bindings ?? {})) (out.bindings ??= {})[name] = value(bound.value);
    if (from.typedResult)
      out.expect = {
        kind: "type",
        type: typeText(from.typedResult.deducedType),
        ...(from.typedResult.result ? { value: value(from.typedResult.result) } : {}),
      };
    else if (from.evalError) out.expect = { kind: "error", checks: test.type !== undefined };
    else if (from.value) out.expect = { kind: "value", value: value(from.value) };
    else out.expect = { kind: "value", value: { bool: true } };
  } catch (error) {
    if (!(error instanceof NeedsMessage)) throw error;
    out.skip = error.message;
  }
  const needed = neededByExpression(from.expr);
  if (needed) out.skip = needed;
  return out;
}

const cases = [];
function walk(node, path, expectation) {
  for (const test of node.tests ?? []) {
    const made = convert(path.join("/"), test);
    const expect = expectation(test);
    if (expect) made.expect = expect;
    else if (expectation !== conformance) continue;
    cases.push(made);
  }
  for (const suite of node.suites ?? []) walk(suite, [...path, suite.name], expectation);
}
const load = async (name) => (await import(pathToFileURL(`${folder}/${name}.js`))).tests;
const conformance = () => undefined;
walk(await load("conformance"), [], conformance);
// cel-go's own tests of its parser and its checker, kept beside the suite: what has a tree must parse, what has a type
// must have it, and what its checker refuses must be refused. (comprehension.js states no values.)
walk(await load("parsing"), ["parsing"], (test) => test.ast && { kind: "accept" });
const checking = (test) => {
  if (test.type) return { kind: "type", type: test.type };
  // Numbers compare across their types here, as the language definition has it; cel-go makes that an option.
  const isOption = /'_[<>]=?_' applied to '\((int|uint|double), (int|uint|double)\)/.test(test.error ?? "");
  return test.ast && test.error && !isOption ? { kind: "refuse" } : undefined;
};
const before = cases.length;
walk(await load("checking"), ["checking"], checking);
// The declarations that cel-go's checker tests share; the package leaves them out.
const shared = { is: "string", ii: "int", iu: "uint", iz: "bool", ib: "bytes", id: "double", ix: "null" };
for (const made of cases.slice(before)) {
  made.variables = { ...shared, ...made.variables };
  made.functions = [
    { name: "fg_s", member: false, parameters: [], result: "string" },
    { name: "fi_s_s", member: true, parameters: ["string"], result: "string" },
    ...(made.functions ?? []),
  ];
}
writeFileSync(output, JSON.stringify(cases, null, 1));
const skipped = cases.filter((made) => made.skip).length;
console.log(`${cases.length} cases, ${skipped} of them need a protobuf message`);
