// Compares examples/07_flagd_node/choose.mjs with the test vectors of the contract.
import { readFileSync } from "node:fs";

const [choose, file] = process.argv.slice(2);
const { bucketOf, variantOf } = await import(choose);
const vectors = JSON.parse(readFileSync(file, "utf8"));
const wrong = [
  ...vectors.buckets.filter((one) => bucketOf(one.invocation_id) !== one.bucket),
  ...vectors.choices.filter((one) => variantOf(one.weights, one.active, one.invocation_id) !== one.variant_id),
];
console.log(JSON.stringify({ compared: vectors.buckets.length + vectors.choices.length, wrong }));
