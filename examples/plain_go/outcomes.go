package main

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"
)

// callTheModel is where your agent goes; this one only returns the quality of its answer.
func callTheModel(configuration json.RawMessage) float64 {
	var found struct {
		Temperature float64 `json:"temperature"`
	}
	if err := json.Unmarshal(configuration, &found); err == nil && found.Temperature > 1 {
		return 0.2
	}
	return 0.9
}

// runtimeID is a name that no other runtime of the fleet has.
func runtimeID() string {
	if name := os.Getenv("CRL_CLIENT_RUNTIME_ID"); name != "" {
		return name
	}
	return "go-agent"
}

// Work does one invocation and appends its outcome to a file, for `crl publish --file FILE`.
func Work(file, task string, choice Choice) error {
	agentName, taskType, _ := strings.Cut(task, "/")
	quality, status := callTheModel(choice.Configuration), "success"
	if quality < 0.4 {
		status = "failure"
	}
	id := make([]byte, 16)
	if _, err := rand.Read(id); err != nil {
		return err
	}
	line, err := json.Marshal(map[string]any{
		"schema_version": 1, "invocation_id": fmt.Sprintf("%x", id), "timestamp": time.Now().UTC().Format(time.RFC3339Nano),
		"agent_name": agentName, "task_type": taskType, "variant_id": choice.VariantID, "status": status,
		"quality": quality, "session_id": choice.SessionID, "variant_source": choice.Source,
		// These two together get the receipt.
		"active_epoch": choice.Epoch, "runtime_id": runtimeID(),
	})
	if err != nil {
		return err
	}
	lines, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	if _, err := lines.Write(append(line, '\n')); err != nil {
		return err
	}
	return lines.Close()
}
