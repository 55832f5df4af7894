"""What happens when a call arrives. Knows no Flask, no pymongo, no smtplib."""
