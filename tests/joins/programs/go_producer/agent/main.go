// An agent that has only kafka-go and the contract: agent BROKER PREFIX
//
// It reads the active variant from its topic and publishes its outcomes; told.py says what its stdin may ask.
package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
)

const agentName, taskType, key = "refund-agent", "refund", "refund-agent/refund"

// Active is the record of the active variant; it has more fields.
type Active struct {
	VariantID   string `json:"variant_id"`
	Epoch       int    `json:"epoch"`
	Incarnation int    `json:"incarnation"`
	Position    struct {
		Offset int64 `json:"offset"`
	} `json:"position"`
}

func (a Active) newerThan(b Active) bool {
	if a.Incarnation != b.Incarnation {
		return a.Incarnation > b.Incarnation
	}
	if a.Epoch != b.Epoch {
		return a.Epoch > b.Epoch
	}
	return a.Position.Offset > b.Position.Offset
}

// Following keeps the newest record.
type Following struct {
	changed *sync.Cond
	active  Active
}

func follow(broker, topic string) (*Following, error) {
	found := &Following{sync.NewCond(&sync.Mutex{}), Active{VariantID: "steady"}}
	connection, err := kafka.Dial("tcp", broker)
	if err != nil {
		return nil, err
	}
	defer connection.Close()
	partitions, err := connection.ReadPartitions(topic)
	if err != nil {
		return nil, err
	}
	for _, each := range partitions {
		reader := kafka.NewReader(kafka.ReaderConfig{
			Brokers: []string{broker}, Topic: topic, Partition: each.ID, MaxWait: 100 * time.Millisecond,
		})
		go found.read(reader)
	}
	return found, nil
}

func (f *Following) read(reader *kafka.Reader) {
	for {
		message, err := reader.ReadMessage(context.Background())
		var record Active
		isOurs := string(message.Key) == key && len(message.Value) > 0
		if err == nil && isOurs {
			err = json.Unmarshal(message.Value, &record)
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		f.changed.L.Lock()
		if isOurs && record.newerThan(f.active) {
			f.active = record
		}
		f.changed.Broadcast()
		f.changed.L.Unlock()
	}
}

// At returns the record once its epoch is at least this one.
func (f *Following) At(epoch int) Active {
	f.changed.L.Lock()
	defer f.changed.L.Unlock()
	for f.active.Epoch < epoch {
		f.changed.Wait()
	}
	return f.active
}

// Order is a line of stdin.
type Order struct {
	Turns   int      `json:"turns"`
	Variant string   `json:"variant"`
	Fails   []string `json:"fails"`
	Epoch   int      `json:"epoch"`
}

func outcomeOf(order Order, active Active) (string, map[string]any) {
	variant, source, status := active.VariantID, "live", "success"
	if active.Epoch == 0 {
		source = "default"
	}
	if order.Variant != "" {
		variant, source = order.Variant, "explore"
	}
	if slices.Contains(order.Fails, variant) {
		status = "failure"
	}
	outcome := map[string]any{
		"schema_version": 1, "invocation_id": rand.Text(), "timestamp": time.Now().UTC().Format(time.RFC3339Nano),
		"agent_name": agentName, "task_type": taskType, "variant_id": variant, "status": status,
		"variant_source": source, "runtime_id": "runtime-1",
	}
	if active.Epoch > 0 {
		outcome["active_epoch"] = active.Epoch
	}
	return variant, outcome
}

func run(broker, prefix string) error {
	following, err := follow(broker, prefix+"crl.active-variants")
	if err != nil {
		return err
	}
	writer := &kafka.Writer{
		Addr: kafka.TCP(broker), Topic: prefix + "crl.invocations", RequiredAcks: kafka.RequireAll,
		Balancer: kafka.Murmur2Balancer{Consistent: true}, BatchTimeout: 5 * time.Millisecond,
	}
	defer writer.Close()
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var order Order
		if err := json.Unmarshal(lines.Bytes(), &order); err != nil {
			return err
		}
		active := following.At(order.Epoch)
		done, messages := [][]any{}, []kafka.Message{}
		for range order.Turns {
			variant, outcome := outcomeOf(order, active)
			value, err := json.Marshal(outcome)
			if err != nil {
				return err
			}
			messages = append(messages, kafka.Message{Key: []byte(key), Value: value})
			done = append(done, []any{variant, outcome["active_epoch"]})
		}
		if err := writer.WriteMessages(context.Background(), messages...); err != nil {
			return err
		}
		if err := json.NewEncoder(os.Stdout).Encode(done); err != nil {
			return err
		}
	}
	return nil
}

func main() {
	if err := run(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
