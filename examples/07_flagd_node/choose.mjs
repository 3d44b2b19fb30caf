// Chooses a session's variant as every crl-stream runtime does. topics/README.md of crl-stream specifies it, and
// topics/weights.json has test vectors.

/** murmur2 as in Kafka's Java client; returns an unsigned number of 32 bits. */
export function murmur2(bytes) {
  const m = 0x5bd1e995;
  let h = 0x9747b28c ^ bytes.length;
  const whole = bytes.length - (bytes.length % 4);
  for (let i = 0; i < whole; i += 4) {
    let k = bytes[i] | (bytes[i + 1] << 8) | (bytes[i + 2] << 16) | (bytes[i + 3] << 24);
    k = Math.imul(k, m);
    k ^= k >>> 24;
    h = Math.imul(h, m) ^ Math.imul(k, m);
  }
  const rest = bytes.length - whole;
  if (rest > 2) h ^= bytes[whole + 2] << 16;
  if (rest > 1) h ^= bytes[whole + 1] << 8;
  if (rest > 0) h = Math.imul(h ^ bytes[whole], m);
  h ^= h >>> 13;
  h = Math.imul(h, m);
  return (h ^ (h >>> 15)) >>> 0;
}

/** The bucket of a session, 0 to 999. */
export function bucketOf(sessionId) {
  return (murmur2(new TextEncoder().encode(sessionId)) & 0x7fffffff) % 1000;
}

/** The variant that `weights` (thousandths) give to a session; the rest belongs to the active variant. */
export function variantOf(weights, active, sessionId) {
  const bucket = bucketOf(sessionId);
  let end = 0;
  // Names have only ASCII characters, so the order of JavaScript is the order of their bytes.
  for (const name of Object.keys(weights).sort()) {
    if (name === active) continue;
    end += weights[name];
    if (bucket < end) return name;
  }
  return active;
}

/** What a task of the file of `crl sync --format json` says about a session. */
export function choose(task, sessionId) {
  const chosen = task.weights ? variantOf(task.weights, task.variant_id, sessionId) : task.variant_id;
  const variantId = task.variants[chosen] ? chosen : task.variant_id;
  return {
    variantId,
    epoch: task.epoch,
    source: variantId === task.variant_id ? "file" : "explore",
    configuration: task.variants[variantId]?.configuration,
    ref: task.variants[variantId]?.ref,
  };
}
