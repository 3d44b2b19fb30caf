// Publishes one record with a plain Kafka client: node produce.mjs BROKER TOPIC KEY VALUE
import kafkajs from "kafkajs";

const [broker, topic, key, value] = process.argv.slice(2);
const producer = new kafkajs.Kafka({ brokers: [broker], logLevel: kafkajs.logLevel.ERROR }).producer({
  createPartitioner: kafkajs.Partitioners.DefaultPartitioner,
});
await producer.connect();
await producer.send({ topic, acks: -1, messages: [{ key, value }] });
await producer.disconnect();
