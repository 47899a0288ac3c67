module rook.example/e2e/csi-addons

go 1.26.0

require github.com/csi-addons/kubernetes-csi-addons v0.12.0 // indirect
