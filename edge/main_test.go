package edge

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if loops := os.Getenv(serverMode); loops != "" {
		benchServer(loops)
		return
	}
	goleak.VerifyTestMain(m)
}
