// Package resp reads and writes Redis's wire protocol, versions 2 and 3: what
// clients send ([Reader]), and replies. Inside roomd all replies are in version
// 3; [Downgrade] is for clients that speak version 2.
package resp
