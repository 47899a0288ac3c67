// Command podnet gives a node's pods their network: it is the CNI daemon of a cluster whose nodes share one link.
//
// It writes the CNI configuration for the node's own pod range, keeps a route to every other node's range, and lets
// pods reach addresses outside of the cluster under the node's own address. What it has to know comes from a watch of
// the Node objects.
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

const (
	credentials  = "/var/run/secrets/kubernetes.io/serviceaccount"
	cniDirectory = "/etc/cni/net.d"
	// watchSeconds bounds one watch, so that a connection that died in silence is noticed.
	watchSeconds = 300
	retryDelay   = time.Second
)

type node struct {
	Metadata struct {
		Name string `json:"name"`
	} `json:"metadata"`
	Spec struct {
		PodCIDR string `json:"podCIDR"`
	} `json:"spec"`
	Status struct {
		Addresses []struct {
			Type    string `json:"type"`
			Address string `json:"address"`
		} `json:"addresses"`
	} `json:"status"`
}

func (n node) address() string {
	for _, address := range n.Status.Addresses {
		if address.Type == "InternalIP" {
			return address.Address
		}
	}
	return ""
}

type event struct {
	Type   string `json:"type"`
	Object node   `json:"object"`
}

// network is what podnet has set up on this node so far.
type network struct {
	self, subnet string
	podCIDR      string
	routes       map[string]string // pod range -> the node's address
}

func main() {
	net := &network{self: os.Getenv("NODE_NAME"), subnet: os.Getenv("POD_SUBNET"), routes: map[string]string{}}
	for {
		if err := net.follow(); err != nil {
			log.Printf("watch of nodes: %v", err)
		}
		time.Sleep(retryDelay)
	}
}

// follow applies one watch of the nodes until the watch ends.
func (n *network) follow() error {
	ctx, cancel := context.WithTimeout(context.Background(), (watchSeconds+30)*time.Second)
	defer cancel()
	url := fmt.Sprintf("https://%s/api/v1/nodes?watch=true&timeoutSeconds=%d", os.Getenv("CONTROL_PLANE_ENDPOINT"), watchSeconds)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	token, err := os.ReadFile(filepath.Join(credentials, "token"))
	if err != nil {
		return err
	}
	authority, err := os.ReadFile(filepath.Join(credentials, "ca.crt"))
	if err != nil {
		return err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	defer transport.CloseIdleConnections()
	request.Header.Set("Authorization", "Bearer "+string(bytes.TrimSpace(token)))
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the API server answered %s", response.Status)
	}
	for stream := json.NewDecoder(response.Body); ; {
		var received event
		if err := stream.Decode(&received); err != nil {
			return err
		}
		if err := n.apply(received); err != nil {
			return err
		}
	}
}

func (n *network) apply(received event) error {
	object := received.Object
	cidr, address := object.Spec.PodCIDR, object.address()
	switch {
	case received.Type == "ERROR":
		return fmt.Errorf("the API server ended it with an error")
	case cidr == "" || address == "":
		return nil
	case object.Metadata.Name == n.self:
		return n.configure(cidr)
	case received.Type == "DELETED":
		delete(n.routes, cidr)
		return run("", "ip", "route", "del", cidr)
	case n.routes[cidr] == address:
		return nil
	}
	n.routes[cidr] = address
	return run("", "ip", "route", "replace", cidr, "via", address)
}

// configure sets up the masquerade and then the CNI configuration, whose presence makes the node Ready.
func (n *network) configure(cidr string) error {
	if n.podCIDR == cidr {
		return nil
	}
	rules := fmt.Sprintf(`add table ip podnet
delete table ip podnet
table ip podnet {
	chain postrouting {
		type nat hook postrouting priority srcnat;
		ip saddr %s ip daddr != %s masquerade
	}
}
`, cidr, n.subnet)
	if err := run(rules, "nft", "-f", "-"); err != nil {
		return err
	}
	conflist, err := json.MarshalIndent(map[string]any{
		"cniVersion": "0.3.1",
		"name":       "podnet",
		"plugins": []map[string]any{
			{
				"type": "ptp",
				"ipam": map[string]any{
					"type":   "host-local",
					"ranges": [][]map[string]string{{{"subnet": cidr}}},
					"routes": []map[string]string{{"dst": "0.0.0.0/0"}},
				},
			},
			{"type": "portmap", "capabilities": map[string]bool{"portMappings": true}},
		},
	}, "", "  ")
	if err != nil {
		return err
	}
	// Renamed into place: the runtime reads the directory whenever it changes.
	temporary := filepath.Join(cniDirectory, ".podnet")
	if err := os.WriteFile(temporary, conflist, 0o644); err != nil {
		return err
	}
	if err := os.Rename(temporary, filepath.Join(cniDirectory, "10-podnet.conflist")); err != nil {
		return err
	}
	n.podCIDR = cidr
	log.Printf("pods of this node are in %s", cidr)
	return nil
}

func run(input, name string, arguments ...string) error {
	command := exec.Command(name, arguments...)
	command.Stdin = bytes.NewBufferString(input)
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w: %s", command.Args, err, output)
	}
	return nil
}
