// An agent that has only kafkajs and the contract: node agent.mjs BROKER PREFIX
//
// It reads the active variant from its topic and publishes its outcomes; told.py says what its stdin may ask.
import { randomUUID } from "node:crypto";
import { createInterface } from "node:readline";
import kafkajs from "kafkajs";

const [broker, prefix] = process.argv.slice(2);
const [agentName, taskType] = ["refund-agent", "refund"];
const key = `${agentName}/${taskType}`;
const kafka = new kafkajs.Kafka({ brokers: [broker], logLevel: kafkajs.logLevel.ERROR });
const producer = kafka.producer({ createPartitioner: kafkajs.Partitioners.DefaultPartitioner });
const consumer = kafka.consumer({ groupId: randomUUID() });

let active = { variant_id: "steady" };
let wake = () => {};

function isNewer(record) {
  const ageOf = (one) => [one.incarnation ?? 0, one.epoch ?? 0, one.position?.offset ?? -1];
  const [ours, theirs] = [ageOf(active), ageOf(record)];
  const differs = ours.findIndex((value, at) => value !== theirs[at]);
  return differs >= 0 && theirs[differs] > ours[differs];
}

async function epochIs(wanted) {
  while ((active.epoch ?? 0) < wanted) await new Promise((resolve) => (wake = resolve));
}

await producer.connect();
await consumer.connect();
await consumer.subscribe({ topic: `${prefix}crl.active-variants`, fromBeginning: true });
await consumer.run({
  eachMessage: async ({ message }) => {
    if (message.key?.toString() === key && message.value) {
      const record = JSON.parse(message.value.toString());
      if (isNewer(record)) active = record;
    }
    wake();
  },
});
for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  await epochIs(order.epoch ?? 0);
  const done = [];
  const messages = [];
  for (let turn = 0; turn < order.turns; turn += 1) {
    const variant = order.variant ?? active.variant_id;
    const source = order.variant ? "explore" : active.epoch === undefined ? "default" : "live";
    const outcome = {
      schema_version: 1,
      invocation_id: randomUUID(),
      timestamp: new Date().toISOString(),
      agent_name: agentName,
      task_type: taskType,
      variant_id: variant,
      status: order.fails?.includes(variant) ? "failure" : "success",
      variant_source: source,
      runtime_id: "runtime-1",
      active_epoch: active.epoch,
    };
    messages.push({ key, value: JSON.stringify(outcome) });
    done.push([variant, active.epoch ?? null]);
  }
  await producer.send({ topic: `${prefix}crl.invocations`, acks: -1, messages });
  console.log(JSON.stringify(done));
}
await consumer.disconnect();
await producer.disconnect();
