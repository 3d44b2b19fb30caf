// An agent in Node without Kafka and without packages: it reads the file of `crl sync --format json`.
//
//   node plain_agent.mjs VARIANTS.json OUTCOMES.jsonl COUNT
import { readFileSync } from "node:fs";
import { choose } from "./choose.mjs";
import { callTheModel, DEFAULTS, TASK } from "./model.mjs";
import { writeOutcome } from "./outcomes.mjs";

const [file, outcomes, count] = process.argv.slice(2);

/** What the file says about the session now; the defaults if there is no file or task yet. */
function lookUp(sessionId) {
  try {
    const document = JSON.parse(readFileSync(file, "utf8"));
    if (document.format === "crl-sync" && document.version === 1 && document.tasks[TASK]) {
      return choose(document.tasks[TASK], sessionId);
    }
    console.error(`${file} has no task ${TASK}`);
  } catch (error) {
    console.error(`${file} cannot be read: ${error.message}`);
  }
  return { variantId: "default", source: "default" };
}

for (let number = 0; number < Number(count); number += 1) {
  const sessionId = `customer-${process.pid}-${number}`;
  const found = lookUp(sessionId);
  const quality = callTheModel(found.configuration ?? DEFAULTS);
  writeOutcome(outcomes, TASK, found.variantId, quality < 0.4 ? "failure" : "success", {
    quality,
    session_id: sessionId,
    active_epoch: found.epoch,
    variant_source: found.source,
  });
  console.log(JSON.stringify({ sessionId, variantId: found.variantId, epoch: found.epoch, quality }));
}
