"""What is done to one block. Each step is one recipe that reads like one."""
