// Publishes one record with a plain Kafka client: produce BROKER TOPIC KEY VALUE
package main

import (
	"context"
	"fmt"
	"os"

	"github.com/segmentio/kafka-go"
)

func main() {
	writer := &kafka.Writer{
		Addr:         kafka.TCP(os.Args[1]),
		Topic:        os.Args[2],
		Balancer:     kafka.Murmur2Balancer{Consistent: true},
		RequiredAcks: kafka.RequireAll,
	}
	err := writer.WriteMessages(context.Background(), kafka.Message{Key: []byte(os.Args[3]), Value: []byte(os.Args[4])})
	if err == nil {
		err = writer.Close()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
