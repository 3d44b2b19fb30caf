import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import com.fasterxml.jackson.annotation.JsonProperty;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.util.ArrayDeque;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.Serde;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.Serializer;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.processor.api.Processor;
import org.apache.kafka.streams.processor.api.ProcessorContext;
import org.apache.kafka.streams.processor.api.Record;
import org.apache.kafka.streams.state.KeyValueStore;
import org.apache.kafka.streams.state.Stores;

/**
 * The equivalent job of {@code job.py} in Kafka Streams: at least once, one thread, a persistent store with cache and
 * changelog, all with default settings.  The store keeps JSON, like those of the other contestants.
 */
public final class EquivalentJob {
    private static final int WINDOW = 20;
    private static final int EVERY = 10;
    private static final Set<Long> EARLY = Set.of(1L, 2L, 5L, 10L);
    private static final Set<String> STATUSES = Set.of("success", "failure", "error", "timeout");
    private static final String STORE = "tasks";
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final AtomicLong COUNT = new AtomicLong();
    private static long snapshotMillis;

    private EquivalentJob() {}

    /** The fields of an outcome that the job reads. */
    @JsonIgnoreProperties(ignoreUnknown = true)
    public static final class Outcome {
        @JsonProperty("schema_version") public int schemaVersion;
        @JsonProperty("invocation_id") public String invocationId;
        @JsonProperty("timestamp") public String timestamp;
        @JsonProperty("agent_name") public String agentName;
        @JsonProperty("task_type") public String taskType;
        @JsonProperty("variant_id") public String variantId;
        @JsonProperty("status") public String status;
        @JsonProperty("quality") public double quality;
        @JsonProperty("error_count") public int errorCount;

        boolean isValid() {
            return schemaVersion == 1 && invocationId != null && timestamp != null && agentName != null
                && taskType != null && variantId != null && status != null && STATUSES.contains(status);
        }
    }

    /** State of a variant: lifetime counts and the last outcomes as [success, quality, error]. */
    public static final class Variant {
        public long n;
        public long successes;
        public ArrayDeque<double[]> window = new ArrayDeque<>(WINDOW + 1);
    }

    /** State of a task. */
    public static final class Task {
        public long n;
        @JsonProperty("shown_n") public long shownN;
        @JsonProperty("shown_time") public long shownTime;
        public Map<String, Variant> variants = new LinkedHashMap<>();
    }

    private static <T> Serde<T> jsonSerde(final Class<T> type) {
        final Serializer<T> serializer = (topic, value) -> value == null ? null : write(value);
        final Deserializer<T> deserializer = (topic, data) -> {
            if (data == null) {
                return null;
            }
            try {
                return JSON.readValue(data, type);
            } catch (final IOException error) {
                throw new IllegalStateException(error);
            }
        };
        return Serdes.serdeFrom(serializer, deserializer);
    }

    private static byte[] write(final Object value) {
        try {
            return JSON.writeValueAsBytes(value);
        } catch (final JsonProcessingException error) {
            throw new IllegalStateException(error);
        }
    }

    /** Takes outcomes in, one by one. */
    private static final class Fold implements Processor<String, byte[], String, byte[]> {
        private ProcessorContext<String, byte[]> context;
        private KeyValueStore<String, Task> tasks;

        @Override
        public void init(final ProcessorContext<String, byte[]> given) {
            context = given;
            tasks = given.getStateStore(STORE);
        }

        @Override
        public void process(final Record<String, byte[]> record) {
            final Outcome outcome;
            try {
                outcome = JSON.readValue(record.value(), Outcome.class);
            } catch (final IOException error) {
                return;
            }
            if (!outcome.isValid()) {
                return;
            }
            Task task = tasks.get(record.key());
            if (task == null) {
                task = new Task();
            }
            take(task, outcome);
            final boolean late = task.n - task.shownN >= EVERY
                && record.timestamp() - task.shownTime >= snapshotMillis;
            final boolean due = late || EARLY.contains(task.n);
            if (due) {
                task.shownN = task.n;
                task.shownTime = record.timestamp();
            }
            tasks.put(record.key(), task);
            if (due) {
                context.forward(record.withValue(write(snapshot(record.key(), task))));
            }
            COUNT.incrementAndGet();
        }

        private static void take(final Task task, final Outcome outcome) {
            final Variant variant = task.variants.computeIfAbsent(outcome.variantId, name -> new Variant());
            final boolean success = outcome.status.equals("success");
            task.n++;
            variant.n++;
            variant.successes += success ? 1 : 0;
            variant.window.addLast(
                new double[] {success ? 1 : 0, outcome.quality, outcome.errorCount > 0 ? 1 : 0});
            if (variant.window.size() > WINDOW) {
                variant.window.removeFirst();
            }
        }

        private static Map<String, Object> snapshot(final String key, final Task task) {
            final Map<String, Object> variants = new LinkedHashMap<>();
            for (final Map.Entry<String, Variant> entry : task.variants.entrySet()) {
                final Variant variant = entry.getValue();
                final int size = variant.window.size();
                final double[] sums = new double[3];
                for (final double[] outcome : variant.window) {
                    for (int at = 0; at < sums.length; at++) {
                        sums[at] += outcome[at];
                    }
                }
                variants.put(entry.getKey(), Map.of(
                    "n", variant.n, "successes", variant.successes, "window", size,
                    "success_rate", sums[0] / size, "quality", sums[1] / size, "error_rate", sums[2] / size));
            }
            return Map.of("task", key, "n", task.n, "variants", variants);
        }
    }

    private static void tell() {
        try {
            while (true) {
                System.out.println(COUNT.get());
                Thread.sleep(50);
            }
        } catch (final InterruptedException error) {
            Thread.currentThread().interrupt();
        }
    }

    /** Arguments: servers, name, source, sink, partitions, folder, seconds; runs until SIGTERM. */
    public static void main(final String[] words) throws InterruptedException {
        snapshotMillis = Math.round(Double.parseDouble(words[6]) * 1_000);
        final Properties given = new Properties();
        given.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, words[0]);
        given.put(StreamsConfig.APPLICATION_ID_CONFIG, words[1]);
        given.put(StreamsConfig.STATE_DIR_CONFIG, words[5]);
        given.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        given.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.ByteArraySerde.class);
        given.put(ConsumerConfig.AUTO_OFFSET_RESET_CONFIG, "earliest");
        final Topology topology = new Topology();
        topology.addSource("source", words[2]);
        topology.addProcessor("fold", Fold::new, "source");
        topology.addStateStore(
            Stores.keyValueStoreBuilder(
                Stores.persistentKeyValueStore(STORE), Serdes.String(), jsonSerde(Task.class)).withCachingEnabled(),
            "fold");
        topology.addSink("sink", words[3], "fold");
        final KafkaStreams streams = new KafkaStreams(topology, given);
        final CountDownLatch end = new CountDownLatch(1);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            streams.close();
            end.countDown();
        }));
        final Thread teller = new Thread(EquivalentJob::tell);
        teller.setDaemon(true);
        teller.start();
        streams.start();
        end.await();
    }
}
