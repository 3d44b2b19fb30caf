// An agent in Node that uses OpenFeature with flagd's provider in file mode: it reads the file of
// `crl sync --format flagd`.
//
//   npm ci && node flagd_agent.mjs FLAGS.json OUTCOMES.jsonl COUNT [MILLISECONDS_PER_ANSWER]
import { FlagdProvider } from "@openfeature/flagd-provider";
import { OpenFeature } from "@openfeature/server-sdk";
import { bucketOf } from "./choose.mjs";
import { callTheModel, DEFAULTS, TASK } from "./model.mjs";
import { writeOutcome } from "./outcomes.mjs";

const [file, outcomes, count, pause = "20"] = process.argv.slice(2);
await OpenFeature.setProviderAndWait(new FlagdProvider({ resolverType: "in-process", offlineFlagSourcePath: file }));
const client = OpenFeature.getClient();

for (let number = 0; number < Number(count); number += 1) {
  const sessionId = `customer-${process.pid}-${number}`;
  // Without crl_bucket, flagd's own hash decides, and other runtimes may give this session another variant.
  const context = { targetingKey: sessionId, crl_bucket: bucketOf(sessionId) }; // joins
  const details = await client.getObjectDetails(TASK, DEFAULTS, context);
  const quality = callTheModel(details.value);
  const variantId = details.variant ?? "default";
  const { epoch, active_variant: active } = details.flagMetadata;
  writeOutcome(outcomes, TASK, variantId, quality < 0.4 ? "failure" : "success", { // joins
    quality,
    session_id: sessionId,
    active_epoch: epoch, // with the runtime_id, this gets the receipt
    variant_source: details.variant === undefined ? "default" : variantId === active ? "file" : "explore",
  });
  console.log(JSON.stringify({ sessionId, variantId, epoch, quality }));
  await new Promise((resolve) => setTimeout(resolve, Number(pause)));
}
await OpenFeature.close();
