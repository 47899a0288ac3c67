module rook.example/e2e/node

go 1.26.0
