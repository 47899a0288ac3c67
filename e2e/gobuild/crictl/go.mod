module rook.example/e2e/crictl

go 1.26.0

tool (
	sigs.k8s.io/cri-tools/cmd/crictl
)

require (
	sigs.k8s.io/cri-tools v1.37.0
)
